package grant

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// ErrAudience is the ErrToken of a valid token that is only meant for another API. The answer says
// so: its holder can read it in the token.
var ErrAudience = fault.New(ErrToken.Kind, ErrToken.Code,
	"The access token is valid, but it is for another API. Get one for this API and try again.")

// because returns ErrToken with its cause.
func because(why string) error { return ErrToken.Because(errors.New(why)) }

// errEnded is the cause of an errNotLiving.
var errEnded = errors.New("it is unknown or has ended")

// errNotLiving is the ErrToken of a token that the database does not have among the valid ones. One
// statement finds that out. Explain asks which of its conditions failed.
var errNotLiving = ErrToken.Because(errEnded)

// Explain returns err, with which Verify refused bearer, and adds a cause that takes another
// statement to find. It returns ErrAudience for a valid token of a type that only other APIs
// accept. Only doors that record the cause of a refusal pay for it.
func (v *Verifier) Explain(ctx context.Context, c caller.Caller, bearer string, err error) error {
	if errors.Is(err, jose.ErrType) && !v.PlainJWT {
		all := *v
		all.PlainJWT = true
		_, plain := all.Verify(ctx, c, bearer)
		if plain == nil {
			return ErrAudience.Because(errors.New("it is of the type JWT, which only registered APIs accept"))
		}
		return all.Explain(ctx, c, bearer, plain)
	}
	if !errors.Is(err, errEnded) {
		return err
	}
	t := new(signedToken)
	shown, notOpaque := secret.ParseToken(bearer)
	if notOpaque != nil {
		if t, err = v.signed(ctx, c, bearer); err != nil {
			return err
		}
	}
	why, err := db.Read(ctx, v.DB, c, func(tx *db.Tx) (string, error) {
		switch {
		case notOpaque == nil:
			return oneText(ctx, tx, whyOpaque, tx.Now(), shown.Hash)
		case t.grant.IsZero():
			return oneText(ctx, tx, whyOwnJWT, t.ID)
		}
		return oneText(ctx, tx, whyJWT, tx.Now(), t.grant, t.ID)
	})
	switch {
	case errors.Is(err, db.ErrNoRows):
		return because("it is unknown, or ended long ago")
	case err != nil:
		return fmt.Errorf("grant: explain a refused token: %w", err)
	}
	return because(why)
}

func oneText(ctx context.Context, tx *db.Tx, sql string, args ...any) (string, error) {
	return db.One(ctx, tx, func(r db.Row) (string, error) {
		var s string
		err := r.Scan(&s)
		return s, err
	}, sql, args...)
}

// The statements of Explain. Their conditions are those of living, ownOpaque and validOpaque. A
// token that has become valid meanwhile has the last reason of its list.
const (
	whyGrant = `WHEN g.revoked_at IS NOT NULL THEN 'its grant was revoked'
	WHEN g.expires_at - $2 <= 0 THEN 'its grant has expired'
	WHEN NOT EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = $1 AND u.id = g.user_id AND u.status = 'active')
		THEN 'its user is locked, closed or deleted'
	WHEN NOT EXISTS (SELECT 1 FROM applications ap
		WHERE ap.tenant_id = $1 AND ap.id = g.application_id AND ap.status = 'active')
		THEN 'its application is disabled or deleted'
	WHEN NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = $1 AND t.status = 'active') THEN 'its tenant is suspended'
	ELSE 'its session has ended, or a sign-out everywhere ended it' END`

	whyOpaque = `SELECT CASE WHEN a.revoked_at IS NOT NULL THEN 'it was revoked'
	WHEN a.expires_at - $2 <= 0 THEN 'it has expired'
	WHEN a.grant_id IS NULL THEN 'its application is disabled or deleted, or ended its tokens'
	WHEN g.id IS NULL THEN 'its grant ended long ago'
	` + whyGrant + `
	FROM access_tokens a LEFT JOIN grants g ON g.tenant_id = a.tenant_id AND g.id = a.grant_id
	WHERE a.tenant_id = $1 AND a.token_hash = $3`

	revokedJWT = `EXISTS (SELECT 1 FROM used_jtis j WHERE j.tenant_id = $1 AND j.issuer = '' AND j.jti = `

	whyJWT = `SELECT CASE WHEN ` + revokedJWT + `$4) THEN 'it was revoked'
	` + whyGrant + `
	FROM grants g WHERE g.tenant_id = $1 AND g.id = $3`

	whyOwnJWT = `SELECT CASE WHEN ` + revokedJWT + `$2) THEN 'it was revoked'
	ELSE 'its application is disabled or deleted' END FROM tenants t WHERE t.id = $1`
)
