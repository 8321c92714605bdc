package grant

import (
	"context"
	"errors"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Consented returns the scopes that a user has allowed an application; none is no error.
func Consented(ctx context.Context, tx *db.Tx, user, application id.ID) ([]string, error) {
	s, err := db.One(ctx, tx, func(r db.Row) (s string, err error) { return s, r.Scan(&s) },
		`SELECT scopes FROM consents WHERE tenant_id = $1 AND user_id = $2 AND application_id = $3`, user, application)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	return split(s), err
}

// Consent notes that a user allows an application scopes, besides those already
// allowed.
func Consent(ctx context.Context, tx *db.Tx, user, application id.ID, scopes []string) error {
	had, err := Consented(ctx, tx, user, application)
	if err != nil {
		return err
	}
	all := slices.Clone(had)
	for _, s := range scopes {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	tx.Later(`INSERT INTO consents (tenant_id, user_id, application_id, scopes, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id, user_id, application_id) DO UPDATE SET scopes = excluded.scopes, updated_at = excluded.updated_at`,
		user, application, join(all), tx.Now())
	audit.Write(tx, audit.Event{Action: "consent.give", Target: audit.Target{Kind: "application", ID: application.String()},
		Detail: map[string]any{"user": user.String(), "scopes": join(scopes)}})
	return nil
}

// purgeBatch bounds how many rows of each table one call of Purge deletes.
const purgeBatch = 500

// Purge deletes what expired, a bounded number of rows a call, and reports
// whether there may be more. Codes, refresh and access tokens go with their
// grant, which is kept for a day after its end so that a late replay is known.
func Purge(ctx context.Context, tx *db.Tx) (more bool, err error) {
	for _, p := range []struct {
		sql   string
		grace int64 // microseconds
	}{
		{`DELETE FROM grants WHERE tenant_id = $1 AND id IN (SELECT id FROM grants WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)`, 24 * 3600 * 1e6},
		{`DELETE FROM access_tokens WHERE tenant_id = $1 AND token_hash IN (SELECT token_hash FROM access_tokens WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)`, 0},
		{`DELETE FROM refresh_tokens WHERE tenant_id = $1 AND token_hash IN (SELECT token_hash FROM refresh_tokens WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)`, 24 * 3600 * 1e6},
		{`DELETE FROM used_jtis WHERE tenant_id = $1 AND (issuer, jti) IN (SELECT issuer, jti FROM used_jtis WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)`, 0},
	} {
		n, err := tx.Exec(ctx, p.sql, tx.Now().UnixMicro()-p.grace, purgeBatch)
		if err != nil {
			return false, err
		}
		more = more || n == purgeBatch
	}
	return more, nil
}
