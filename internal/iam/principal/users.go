package principal

import (
	"context"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Page is a part of a tenant's users.
type Page struct {
	Principals []*enginev1.Principal // those of them that are Found, in the order of their ids
	Last       id.ID                 // of those considered; zero if there were none
	More       bool                  // whether there are others after it
}

// Users resolves the next limit users after the given id (zero: from the start). Users that are not
// active get no principal, as in Resolve. ask applies to each of them. An error means that the
// database could not be read.
func (r *Resolver) Users(ctx context.Context, c caller.Caller, ask Ask, after id.ID, limit int) (Page, error) {
	version, denied, err := r.version(ctx, c)
	if err != nil || denied != nil {
		return Page{}, err
	}
	statement, args := `SELECT id FROM users WHERE tenant_id = $1 AND id > $3 ORDER BY id LIMIT $2`, []any{limit + 1,
		after}
	if after.IsZero() { // which a database takes for null
		statement, args = `SELECT id FROM users WHERE tenant_id = $1 ORDER BY id LIMIT $2`, args[:1]
	}
	users, err := db.Read(ctx, r.db, c, func(tx *db.Tx) ([]id.ID, error) {
		return db.List(ctx, tx, func(row db.Row) (id.ID, error) {
			var u id.ID
			err := row.Scan(&u)
			return u, err
		}, statement, args...)
	})
	if err != nil {
		return Page{}, err
	}
	page := Page{More: len(users) > limit}
	for _, u := range users[:min(len(users), limit)] {
		page.Last = u
		e, err := r.at(ctx, c, u, version)
		if err != nil {
			return Page{}, err
		}
		if e.outcome == Found {
			p := &enginev1.Principal{Id: u.String(), PolicyVersion: ask.Asserted.GetPolicyVersion(),
				Scope: ask.Asserted.GetScope()}
			r.fill(p, e, ask, false)
			page.Principals = append(page.Principals, p)
		}
	}
	return page, nil
}
