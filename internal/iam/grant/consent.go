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
	scan := func(r db.Row) (string, error) {
		var scopes string
		err := r.Scan(&scopes)
		return scopes, err
	}
	scopes, err := db.One(ctx, tx, scan, `SELECT scopes FROM consents
		WHERE tenant_id = $1 AND user_id = $2 AND application_id = $3`, user, application)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	return split(scopes), err
}

// Consent adds scopes to those that a user has allowed an application.
func Consent(ctx context.Context, tx *db.Tx, by, app id.ID, scopes []string) error {
	all, err := Consented(ctx, tx, by, app)
	if err != nil {
		return err
	}
	for _, s := range scopes {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	tx.Later(`INSERT INTO consents (tenant_id, user_id, application_id, scopes, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id, user_id, application_id)
		DO UPDATE SET scopes = excluded.scopes, updated_at = excluded.updated_at`,
		by, app, join(all), tx.Now())
	audit.Write(tx, audit.Event{
		Action: "consent.give", Target: application.TargetOf(app),
		Detail: map[string]any{"user": by.String(), "scopes": join(scopes)},
	})
	return nil
}

// withdraw deletes consents, so that the users are asked again. At least one id of of is set.
func withdraw(tx *db.Tx, of Of) {
	switch {
	case of.Application.IsZero():
		tx.Later(`DELETE FROM consents WHERE tenant_id = $1 AND user_id = $2`, of.User)
	case of.User.IsZero():
		tx.Later(`DELETE FROM consents WHERE tenant_id = $1 AND application_id = $2`, of.Application)
	default:
		tx.Later(`DELETE FROM consents WHERE tenant_id = $1 AND user_id = $2 AND application_id = $3`, of.User,
			of.Application)
	}
}
