package access

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Credentials are what HTTP Basic has of a client. They are not checked yet.
type Credentials struct {
	ClientID string
	Secret   secret.String
	Plain    secret.String // the secret without form-decoding
}

// maxBasic bounds the text of HTTP Basic, in bytes.
const maxBasic = 8 << 10

// Basic reads HTTP Basic as OAuth defines it: both halves are form-encoded before they are joined
// (RFC 6749 §2.3.1). Many clients do not encode, so the secret as it came counts too.
func Basic(header string) (Credentials, bool) {
	scheme, b64, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") || len(b64) > maxBasic {
		return Credentials{}, false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimLeft(b64, " "))
	if err != nil {
		return Credentials{}, false
	}
	user, pass, ok := strings.Cut(string(raw), ":")
	if !ok {
		return Credentials{}, false
	}
	client, err := url.QueryUnescape(user)
	if err != nil || client == "" {
		return Credentials{}, false
	}
	decoded, err := url.QueryUnescape(pass)
	if err != nil {
		decoded = pass
	}
	return Credentials{client, secret.String(decoded), secret.String(pass)}, true
}

// ErrClient is the fault of credentials that are not those of a machine application.
var ErrClient = fault.New(fault.Unauthenticated, "client.wrong",
	"The client_id and the secret are not those of an active machine application of this tenant.")

// AdmitClient verifies the secret of a machine application that was presented to site, instead of
// a token, and returns the application as the holder. It fails with ErrClient, whatever is wrong,
// and with ErrScope for an application that may not have the scope.
func (g *Guard) AdmitClient(
	ctx context.Context, c caller.Caller, site web.Site, shown Credentials, scope string, now time.Time,
) (Holder, error) {
	app, err := g.Applications.ByClientID(ctx, c, shown.ClientID)
	refuse := func(why string) (Holder, error) {
		return Holder{}, &refusal{error: ErrClient.Because(errors.New(why)), clientID: shown.ClientID, app: app}
	}
	switch {
	case fault.Of(err) == fault.NotFound && err != nil:
		app = nil
		return refuse("there is no such application")
	case err != nil:
		return Holder{}, err
	case app.Status != application.Active:
		return refuse("the application is disabled")
	case app.Type != application.Machine:
		return refuse("the application is not of the type machine")
	case !app.AuthMethod.Secret():
		return refuse("the application has no secret")
	case !app.CheckSecret(secret.HashOf(shown.Secret), now) && !app.CheckSecret(secret.HashOf(shown.Plain), now):
		return refuse("the secret is wrong")
	case !slices.Contains(app.Scopes, scope):
		lacks := LacksScope(scope).Because(errors.New("its application may not have it"))
		return Holder{}, &refusal{lacks, app.ClientID, app, actorOf(site, grant.Token{}, app)}
	}
	token := grant.Token{Application: app.ID, Scopes: []string{scope}}
	return Holder{Caller: c.As(actorOf(site, token, app)), Home: site, Token: token, Application: app}, nil
}
