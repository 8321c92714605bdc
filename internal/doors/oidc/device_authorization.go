package oidc

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// The path of the device authorization endpoint, and of the page where a person enters the code.
const (
	devicePath = "/oauth2/device_authorization"
	verifyPath = "/device"
)

// deviceResponse is the answer of the device authorization endpoint (RFC 8628 §3.2).
type deviceResponse struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	Verification    string `json:"verification_uri"`
	VerificationAll string `json:"verification_uri_complete"`
	Expires         int64  `json:"expires_in"` // seconds
	Interval        int64  `json:"interval"`   // seconds
}

var errManyDevices = fault.New(fault.Limited, "device.too_many_from_address",
	"Too many requests of devices came from your network. Try again in a minute.")

// requestDevice answers the device authorization endpoint (RFC 8628 §3.1). A public client shows
// only its client_id, which everybody can read. So its requests are limited by the network that
// they come from. Those of a confidential client come from its server. Only their number is
// limited.
func (d *Door) requestDevice(w http.ResponseWriter, r *http.Request) error {
	app, p, err := d.authenticate(r)
	if err != nil {
		return err
	}
	if !app.DeviceAuthorization {
		return deviceOff()
	}
	scopes, err := deviceScopes(app, p.get("scope"))
	if err != nil {
		return err
	}
	type made struct {
		device grant.Device
		code   secret.String
	}
	c := actorOf(web.CallerOf(r), app)
	a, err := d.ask(r.Context(), c, p, app, scopes)
	switch {
	case errors.Is(err, errNoScope):
		return invalidScope(noScopeThere)
	case err != nil:
		return targetRefused(err)
	}
	own, err := d.Tenants.ByID(r.Context(), c.Tenant)
	if err != nil {
		return err
	}
	got, err := db.Write(r.Context(), d.DB, c, func(tx *db.Tx) (made, error) {
		if app.AuthMethod == application.AuthNone {
			from := attempt.Device(c.Address, attempt.NumbersOf(own.Settings))
			verdict, err := attempt.Take(r.Context(), tx, from.Keys()...)
			if err != nil {
				return made{}, err
			}
			if verdict.Blocked {
				return made{}, errManyDevices
			}
		}
		device, code, err := grant.RequestDevice(r.Context(), tx, app.ID, a.scopes, a.resources)
		return made{device, code}, err
	})
	if err != nil {
		return err
	}
	d.Records.Record(c, audit.Access{Action: "device.request", Target: app.Target(),
		Detail: map[string]any{"device": got.device.ID.String(), "scope": joinScopes(a.scopes),
			"resources": a.resources}})
	page, shown := web.SiteOf(r).Base+verifyPath, grant.FormatUserCode(got.device.UserCode)
	writeJSON(w, http.StatusOK, jsonBody(deviceResponse{
		DeviceCode: got.code.Reveal(), UserCode: shown, Verification: page,
		VerificationAll: page + "?user_code=" + shown,
		Expires:         int64(grant.DeviceLifetime / time.Second), Interval: int64(grant.DeviceInterval / time.Second),
	}))
	return nil
}

// deviceOff refuses an application that was not set up for devices.
func deviceOff() error {
	return badRequest(codeUnauthorizedClient, "This application may not use device authorization. An administrator "+
		"may set device_authorization for it.")
}

// deviceScopes returns the scopes of a request by a device. Without a scope parameter it is openid.
func deviceScopes(app *application.Application, scope string) ([]string, error) {
	if scope == "" {
		return []string{scopeOpenID}, nil
	}
	asked, err := words(scope, maxScopes)
	if err != nil {
		return nil, tooManyScopes()
	}
	scopes := slices.Clip(allowedScopes(app, asked))
	if len(scopes) == 0 {
		return nil, invalidScope("scope names nothing that this application may ask for.")
	}
	return scopes, nil
}
