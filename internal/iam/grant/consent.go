package grant

import (
	"context"
	"errors"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Consented returns the scopes that a user has allowed an application, or an empty list.
func Consented(ctx context.Context, tx *db.Tx, user, application id.ID) ([]string, error) {
	scopes, _, err := consented(ctx, tx, user, application)
	return scopes, err
}

// consented is Consented, and returns the application's generation.
func consented(ctx context.Context, tx *db.Tx, user, app id.ID) ([]string, int64, error) {
	var generation int64
	scan := func(r db.Row) (string, error) {
		var scopes string
		err := r.Scan(&scopes, &generation)
		return scopes, err
	}
	scopes, err := db.One(ctx, tx, scan, `SELECT coalesce(c.scopes, ''), ap.generation FROM applications ap
		LEFT JOIN consents c ON c.tenant_id = ap.tenant_id AND c.user_id = $2 AND c.application_id = ap.id
			AND c.application_generation >= ap.consents_from
		WHERE ap.tenant_id = $1 AND ap.id = $3`, user, app)
	if errors.Is(err, db.ErrNoRows) {
		return nil, 0, nil
	}
	return split(scopes), generation, err
}

// Consent adds scopes to those that a user has allowed an application. If those are withdrawn at
// the same moment, the new ones are too: the user is asked again.
func Consent(ctx context.Context, tx *db.Tx, by, app id.ID, scopes []string) error {
	all, generation, err := consented(ctx, tx, by, app)
	if err != nil {
		return err
	}
	for _, s := range scopes {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	tx.Later(`INSERT INTO consents (tenant_id, user_id, application_id, scopes, updated_at, application_generation)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant_id, user_id, application_id)
		DO UPDATE SET scopes = excluded.scopes, updated_at = excluded.updated_at,
			application_generation = excluded.application_generation`,
		by, app, join(all), tx.Now(), generation)
	audit.Write(tx, audit.Event{
		Action: "consent.give", Target: application.TargetOf(app),
		Detail: map[string]any{"user": by.String(), "scopes": join(scopes)},
	})
	return nil
}

// withdraw deletes consents of a user, so that the user is asked again. All consents to an
// application end by application.NextGeneration.
func withdraw(tx *db.Tx, of Of) {
	switch {
	case of.Application.IsZero():
		tx.Later(`DELETE FROM consents WHERE tenant_id = $1 AND user_id = $2`, of.User)
	default:
		tx.Later(`DELETE FROM consents WHERE tenant_id = $1 AND user_id = $2 AND application_id = $3`, of.User,
			of.Application)
	}
}
