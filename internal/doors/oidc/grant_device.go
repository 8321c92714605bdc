package oidc

import (
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// deviceGrant is the grant type of RFC 8628 §3.4.
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// Error codes of RFC 8628 §3.5.
const (
	codePending      = "authorization_pending"
	codeSlowDown     = "slow_down"
	codeExpiredToken = "expired_token"
)

// waits reports whether an error code tells a device to ask again.
func waits(code string) bool { return code == codePending || code == codeSlowDown }

// redeemDevice redeems a device code, or tells the device to go on waiting (RFC 8628 §3.5).
func (d *Door) redeemDevice(r *http.Request, app *application.Application, p params) (issued, error) {
	code := p.get("device_code")
	switch {
	case code == "":
		return issued{}, invalidRequest("device_code is missing.")
	case !app.DeviceAuthorization:
		return issued{}, deviceOff()
	}
	resource, err := d.resource(r.Context(), web.CallerOf(r), p, "")
	if err != nil {
		return issued{}, err
	}
	m, err := d.userMint(r, app)
	if err != nil {
		return issued{}, err
	}
	redemption := grant.DeviceRedemption{Application: app.ID, Lifetime: app.Lifetimes.RefreshMax,
		Issuer: web.SiteOf(r).Base, Allows: d.SignIn.AllowsGrant}
	got, err := db.Write(r.Context(), d.DB, actorOf(web.CallerOf(r), app), func(tx *db.Tx) (issued, error) {
		g, outcome, err := grant.RedeemDevice(r.Context(), tx, code, redemption)
		if err != nil || outcome != grant.Accepted {
			return issued{outcome: outcome}, err
		}
		return d.issueFirst(r.Context(), tx, m, g, resource)
	})
	if err == nil && got.outcome != grant.Accepted {
		err = deviceRefusal(got.outcome)
	}
	return got, err
}

func deviceRefusal(o grant.Outcome) error {
	switch o {
	case grant.Pending:
		return badRequest(codePending, "The person has not answered yet. Ask again after the interval.")
	case grant.TooSoon:
		return badRequest(codeSlowDown, "You ask too often. The interval is five seconds longer from now on.")
	case grant.Refused:
		return badRequest(codeAccessDenied, "The person did not allow this.")
	case grant.Expired:
		return badRequest(codeExpiredToken, "The code has expired. Start again.")
	case grant.Accepted, grant.Unknown, grant.Replayed, grant.Mismatch, grant.RuledOut:
	}
	return invalidGrant(refusals[o])
}
