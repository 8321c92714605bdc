package application

import (
	"fmt"
	"net/url"
)

// Warning says that a setting works, and why another one is better.
type Warning struct {
	Name   string `json:"name" doc:"The field that it is about." example:"redirect_uris[0]"`
	Code   string `json:"code" doc:"A stable name of the warning." example:"application.localhost"`
	Reason string `json:"reason" doc:"What may happen, and what to do."`
}

// warnings returns what is allowed of the application and not recommended.
func (a *Application) warnings() []Warning {
	var out []Warning
	for _, l := range []struct {
		name string
		uris []string
	}{{"redirect_uris", a.RedirectURIs}, {"post_logout_redirect_uris", a.PostLogoutRedirectURIs}} {
		for i, uri := range l.uris {
			if u, err := url.Parse(uri); err == nil && u.Scheme == "http" && u.Hostname() == localhost {
				out = append(out, Warning{Name: fmt.Sprintf("%s[%d]", l.name, i), Code: "application.localhost",
					Reason: "localhost may resolve to another address than the application listens on. " +
						"If the application can, use 127.0.0.1 or [::1] (RFC 8252 §8.3)."})
			}
		}
	}
	return out
}
