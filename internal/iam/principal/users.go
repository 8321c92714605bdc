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
	Last       id.ID                 // of those looked at; zero when there was none
	More       bool                  // whether there are others after it
}

// Users returns the principals of the next users after one, zero for the first of all: of at most
// limit users, of whom those that are not active have no principal, as Resolve denies them. Each is as Resolve
// makes it of ask with the user's id. An error means that the database could not be asked.
func (r *Resolver) Users(ctx context.Context, c caller.Caller, ask Ask, after id.ID, limit int) (Page, error) {
	version, denied, err := r.version(ctx, c)
	if err != nil || denied != nil {
		return Page{}, err
	}
	statement, args := `SELECT id FROM users WHERE tenant_id = $1 AND id > $3 ORDER BY id LIMIT $2`, []any{limit + 1, after}
	if after.IsZero() { // which a database takes for null
		statement, args = `SELECT id FROM users WHERE tenant_id = $1 ORDER BY id LIMIT $2`, args[:1]
	}
	users, err := db.Read(ctx, r.db, c, func(tx *db.Tx) ([]id.ID, error) {
		return db.List(ctx, tx, func(row db.Row) (u id.ID, err error) { err = row.Scan(&u); return u, err }, statement, args...)
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
			p := &enginev1.Principal{Id: u.String(), PolicyVersion: ask.Asserted.GetPolicyVersion(), Scope: ask.Asserted.GetScope()}
			r.fill(p, e, ask, false)
			page.Principals = append(page.Principals, p)
		}
	}
	return page, nil
}
