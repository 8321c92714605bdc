package oidc

import (
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// assertionType is the only client_assertion_type (RFC 7523 §2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// presented is how a client authenticates in one request. It is not checked yet.
type presented struct {
	method    application.AuthMethod
	clientID  string
	secret    secret.String // client_secret_basic, client_secret_post
	plain     secret.String // of Basic: the secret without form-decoding
	assertion string        // private_key_jwt
}

// parseClientAuth returns the one way in which a request authenticates its client. A second way is
// an error (RFC 6749 §2.3), and so is a client_id that contradicts it.
func parseClientAuth(r *http.Request, p params) (presented, error) {
	var found []presented
	basic := r.Header.Get("Authorization")
	if basic != "" {
		c, ok := parseBasic(basic)
		if !ok {
			return presented{}, invalidClient("The Authorization header must be Basic with the form-encoded client_id "+
				"and client_secret (RFC 6749, section 2.3.1).", true)
		}
		if c.plain == "" { // a public client's library may send Basic with the id alone
			c.method = application.AuthNone
		}
		found = append(found, c)
	}
	if p.has("client_secret") {
		found = append(found, presented{
			method: application.AuthPost, clientID: p.get("client_id"), secret: secret.String(p.get("client_secret")),
		})
	}
	if p.has("client_assertion") || p.has("client_assertion_type") {
		if p.get("client_assertion_type") != assertionType {
			return presented{}, invalidRequest("client_assertion_type must be %s.", assertionType)
		}
		if !p.has("client_assertion") {
			return presented{}, invalidRequest("client_assertion is missing.")
		}
		c := presented{method: application.AuthJWT, clientID: p.get("client_id"), assertion: p.get("client_assertion")}
		if c.clientID == "" {
			c.clientID = jose.Peek(c.assertion).Subject // only selects the keys to try
		}
		found = append(found, c)
	}
	switch len(found) {
	case 0:
		found = append(found, presented{method: application.AuthNone, clientID: p.get("client_id")})
	case 1:
	default:
		return presented{}, invalidRequest("The client must authenticate in exactly one way.")
	}
	c := found[0]
	if c.clientID == "" {
		return presented{}, invalidClient("client_id is missing: the request does not name its client.",
			basic != "")
	}
	if id := p.get("client_id"); id != "" && id != c.clientID {
		return presented{}, invalidRequest("client_id differs from the client that authenticates.")
	}
	return c, nil
}

// parseBasic reads HTTP Basic, whose texts can be logged.
func parseBasic(header string) (presented, bool) {
	shown, ok := access.Basic(header)
	if !ok || !printable(shown.ClientID) || !printable(shown.Secret.Reveal()) {
		return presented{}, false
	}
	return presented{method: application.AuthBasic, clientID: shown.ClientID, secret: shown.Secret,
		plain: shown.Plain}, true
}
