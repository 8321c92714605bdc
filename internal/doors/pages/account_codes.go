package pages

import (
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// newRecoveryCodes replaces the recovery codes.
func (d *Door) newRecoveryCodes(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session, facts signin.Facts) error {
		codes, err := db.Write(v.ctx(), d.DB, v.as(s), func(tx *db.Tx) ([]secret.String, error) {
			if err := signin.HoldSession(v.ctx(), tx, s); err != nil {
				return nil, err
			}
			has, err := credential.Of(v.ctx(), tx, s.User)
			if err != nil {
				return nil, err
			}
			if !has.TOTP {
				return nil, fault.New(fault.Conflict, "credential.no_totp",
					"Recovery codes stand in for an authenticator app. Set one up first.")
			}
			codes, err := credential.NewRecoveryCodes(v.ctx(), tx, s.User)
			if err != nil {
				return nil, err
			}
			return codes, d.report(v, tx, facts.User, codesRenewed)
		})
		if err != nil {
			return err
		}
		return d.showNewCodes(v, s, codes)
	})
}
