package group

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

const columns = `id, name, description, attributes, created_at, updated_at`

func scanGroup(row db.Row) (Group, error) {
	var g Group
	err := row.Scan(&g.ID, &g.Name, &g.Description, &g.Attributes, &g.CreatedAt, &g.UpdatedAt)
	return g, err
}

func found(g Group, err error) (Group, error) {
	if errors.Is(err, db.ErrNoRows) {
		return Group{}, ErrNotFound
	}
	return g, err
}

func idOf(g Group) id.ID { return g.ID }

// Create adds a group without members. It fails with an Invalid fault that names every wrong field,
// with ErrNameTaken, or with a Limited fault at the tenant's limit.
func Create(ctx context.Context, tx *db.Tx, p Profile) (Group, error) {
	g := Group{ID: id.New(), Profile: p, CreatedAt: tx.Now(), UpdatedAt: tx.Now()}
	if err := g.normalise(); err != nil {
		return Group{}, err
	}
	count, err := db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM groups WHERE tenant_id = $1`)
	if err != nil {
		return Group{}, err
	}
	if count >= maxGroups {
		return Group{}, errTooMany
	}
	_, err = tx.Exec(ctx,
		`INSERT INTO groups (tenant_id, id, name, name_key, description, attributes, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $7)`, g.ID, g.Name, nameKey(g.Name), g.Description, g.Attributes,
		g.CreatedAt)
	if db.IsConflict(err, "groups", "name_key") {
		return Group{}, ErrNameTaken
	}
	if err != nil {
		return Group{}, err
	}
	audit.Write(tx, audit.Event{Action: "group.create", Target: g.target(), Changed: audit.Changed(nil, g.Profile)})
	return g, nil
}

// Get returns a group, or ErrNotFound.
func Get(ctx context.Context, tx *db.Tx, group id.ID) (Group, error) {
	return found(db.One(ctx, tx, scanGroup, `SELECT `+columns+` FROM groups WHERE tenant_id = $1 AND id = $2`, group))
}

// filterable are the attributes that policies may limit the list by.
var filterable = filter.Columns{"id": {SQL: "id", Kind: filter.ID}}

// List returns the groups that shown lets through, in the order of their creation. With search it
// returns only those whose name begins with it, in any case.
func List(ctx context.Context, tx *db.Tx,
	shown filter.Filter, search string, p page.Request) (page.List[Group], error) {
	query, args := `SELECT `+columns+` FROM groups WHERE tenant_id = $1`, []any{p.Fetch()}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	limit, err := shown.SQL(filterable, arg)
	if err != nil {
		return page.List[Group]{}, err
	}
	query += limit
	if prefix := nameKey(strings.ToValidUTF8(strings.TrimSpace(search), "")); prefix != "" {
		// A prefix as a range in byte order; U+10FFFF sorts after every other character.
		query += ` AND name_key >= ` + arg(prefix) + ` AND name_key < ` + arg(prefix+"\U0010FFFF")
	}
	if !p.After.IsZero() {
		query += ` AND id > ` + arg(p.After)
	}
	groups, err := db.List(ctx, tx, scanGroup, query+` ORDER BY id LIMIT $2`, args...)
	if err != nil {
		return page.List[Group]{}, err
	}
	return page.Of(p, groups, idOf), nil
}

// Hold reads a group in order to change it, its members or its roles. Its row is locked until the
// transaction ends. Otherwise a user could join a group while the group gets a role, unseen by
// either check.
func Hold(ctx context.Context, tx *db.Tx, group id.ID) (Group, error) {
	return found(db.One(ctx, tx, scanGroup,
		`UPDATE groups SET updated_at = updated_at WHERE tenant_id = $1 AND id = $2 RETURNING `+columns, group))
}

// Update edits a copy of a group's profile and stores it. edit must replace Attributes instead of
// changing what the map holds. Update fails like Create, with ErrNotFound, and as roles says.
func Update(ctx context.Context, tx *db.Tx, roles Roles, by api.Rights, group id.ID, edit func(*Profile)) (Group,
	error) {
	old, err := Hold(ctx, tx, group)
	if err != nil {
		return Group{}, err
	}
	if err := roles.MayRename(ctx, tx, by, group); err != nil {
		return Group{}, err
	}
	g := old
	edit(&g.Profile)
	if err := g.normalise(); err != nil {
		return Group{}, err
	}
	changed := audit.Changed(old.Profile, g.Profile)
	if len(changed) == 0 {
		return old, nil
	}
	if changed.Has("attributes") {
		if err := (api.Request{Rights: by}).Require("group.attributes"); err != nil {
			return Group{}, err
		}
	}
	g.UpdatedAt = tx.Now()
	_, err = tx.Exec(ctx,
		`UPDATE groups SET name = $3, name_key = $4, description = $5, attributes = $6, updated_at = $7
			WHERE tenant_id = $1 AND id = $2`,
		g.ID, g.Name, nameKey(g.Name), g.Description, g.Attributes, g.UpdatedAt)
	if db.IsConflict(err, "groups", "name_key") {
		return Group{}, ErrNameTaken
	}
	if err != nil {
		return Group{}, err
	}
	tenant.PrincipalsChanged(tx)
	audit.Write(tx, audit.Event{Action: "group.update", Target: g.target(), Changed: changed})
	return g, nil
}

// Delete removes a group. Its members stay users. It fails with ErrNotFound and as roles says. It
// fails with a Conflict fault for a group that a rule of signing in names, because the rule would
// no longer count for its members.
func Delete(ctx context.Context, tx *db.Tx, roles Roles, by api.Rights, group id.ID) error {
	return roles.KeepOwner(ctx, tx, func() error {
		g, err := Hold(ctx, tx, group)
		if err != nil {
			return err
		}
		if err := roles.MayEmpty(ctx, tx, by, group); err != nil {
			return err
		}
		t, err := tenant.Get(ctx, tx)
		if err != nil {
			return err
		}
		if t.Settings.SignIn.NamesGroup(group) {
			return errInRule
		}
		told, err := tellDeletion(ctx, tx, roles, g)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM groups WHERE tenant_id = $1 AND id = $2`, group); err != nil {
			return err
		}
		tenant.PrincipalsChanged(tx)
		for _, e := range told {
			audit.Write(tx, e)
		}
		return nil
	})
}

// tellDeletion returns the audit events of a group's deletion: its own, and one of each member. At
// most audit.MaxTold members have one.
func tellDeletion(ctx context.Context, tx *db.Tx, roles Roles, g Group) ([]audit.Event, error) {
	held, err := roles.Of(ctx, tx, g.ID)
	if err != nil {
		return nil, err
	}
	count, err := db.One(ctx, tx, db.Column[int64],
		`SELECT count(*) FROM group_members WHERE tenant_id = $1 AND group_id = $2`, g.ID)
	if err != nil {
		return nil, err
	}
	members, err := db.List(ctx, tx, func(row db.Row) (audit.Target, error) {
		m := audit.Target{Kind: "user"}
		var i id.ID
		err := row.Scan(&i, &m.Name)
		m.ID = i.String()
		return m, err
	}, `SELECT u.id, `+user.LoginSQL+` FROM group_members m JOIN users u ON u.tenant_id = $1 AND u.id = m.user_id
		WHERE m.tenant_id = $1 AND m.group_id = $2 ORDER BY m.user_id LIMIT $3`, g.ID, audit.MaxTold)
	if err != nil {
		return nil, err
	}
	logins := make([]string, 0, len(members))
	told := make([]audit.Event, 1, 1+len(members))
	for _, m := range members {
		logins = append(logins, m.Name)
		told = append(told, audit.Event{Action: "user.leave_group", Target: m,
			Detail:  map[string]any{"group": g.ID.String(), "reason": "group.delete"},
			Changed: audit.Changes{}.With("group", g.Name, nil)})
	}
	told[0] = audit.Event{Action: "group.delete", Target: g.target(), Detail: map[string]any{"members": count},
		Changed: audit.Changed(g.Profile, nil).With("members", logins, nil).With("roles", held, nil)}
	return told, nil
}

// Choose holds a group, if a caller with the rights by may add users to it. It fails with
// ErrNotFound and as roles says.
func Choose(ctx context.Context, tx *db.Tx, roles Roles, by api.Rights, group id.ID) (Group, error) {
	g, err := Hold(ctx, tx, group)
	if err != nil {
		return Group{}, err
	}
	return g, roles.MayFill(ctx, tx, by, group)
}

// AddMember adds a user to a group. It does nothing if the user is a member. It fails with
// ErrNotFound, user.ErrNotFound, ErrTooManyOf, and as roles says.
func AddMember(ctx context.Context, tx *db.Tx, roles Roles, by api.Rights, group, member id.ID) error {
	g, err := Choose(ctx, tx, roles, by, group)
	if err != nil {
		return err
	}
	u, err := user.Get(ctx, tx, member)
	if err != nil {
		return err
	}
	count, err := db.One(ctx, tx, db.Column[int64],
		`SELECT count(*) FROM group_members WHERE tenant_id = $1 AND user_id = $2 AND group_id <> $3`, member, group)
	if err != nil {
		return err
	}
	if count >= maxOfUser {
		return ErrTooManyOf
	}
	n, err := tx.Exec(ctx, `INSERT INTO group_members (tenant_id, group_id, user_id, added_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, group_id, user_id) DO NOTHING`, group, member, tx.Now())
	if db.IsForeignKey(err) {
		return user.ErrNotFound // deleted meanwhile
	}
	if err != nil || n == 0 {
		return err
	}
	tenant.PrincipalsChanged(tx)
	audit.Write(tx, audit.Event{Action: "group.add_member", Target: g.target(),
		Detail:  map[string]any{"user": member.String(), "login": u.Login()},
		Changed: audit.Changes{}.With("member", false, true)})
	return nil
}

// RemoveMember removes a user from a group. It fails with ErrNotFound, ErrNotMember, and as roles
// says.
func RemoveMember(ctx context.Context, tx *db.Tx, roles Roles, by api.Rights, group, member id.ID) error {
	return roles.KeepOwner(ctx, tx, func() error {
		g, err := Hold(ctx, tx, group)
		if err != nil {
			return err
		}
		if err := roles.MayEmpty(ctx, tx, by, group); err != nil {
			return err
		}
		u, err := user.Get(ctx, tx, member)
		if errors.Is(err, user.ErrNotFound) {
			return ErrNotMember
		}
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `DELETE FROM group_members WHERE tenant_id = $1 AND group_id = $2 AND user_id = $3`,
			group, member)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrNotMember
		}
		tenant.PrincipalsChanged(tx)
		audit.Write(tx, audit.Event{Action: "group.remove_member", Target: g.target(),
			Detail:  map[string]any{"user": member.String(), "login": u.Login()},
			Changed: audit.Changes{}.With("member", true, false)})
		return nil
	})
}

// Members returns the members of a group, in the order in which the users were created. It fails
// with ErrNotFound.
func Members(ctx context.Context, tx *db.Tx, group id.ID, p page.Request) (page.List[Member], error) {
	if _, err := Get(ctx, tx, group); err != nil {
		return page.List[Member]{}, err
	}
	query, args := `SELECT u.id, u.email, u.username, u.given_name, u.family_name, u.status, m.added_at
		FROM group_members m JOIN users u ON u.tenant_id = $1 AND u.id = m.user_id
		WHERE m.tenant_id = $1 AND m.group_id = $2`, []any{group, p.Fetch()}
	if !p.After.IsZero() {
		query, args = query+` AND m.user_id > $4`, append(args, p.After)
	}
	members, err := db.List(ctx, tx, func(row db.Row) (Member, error) {
		var m Member
		var u user.User
		err := row.Scan(&m.User, &u.Email, &u.Username, &u.GivenName, &u.FamilyName, &m.Status, &m.AddedAt)
		m.Login, m.Name = u.Login(), u.Name()
		return m, err
	}, query+` ORDER BY m.user_id LIMIT $3`, args...)
	if err != nil {
		return page.List[Member]{}, err
	}
	return page.Of(p, members, func(m Member) id.ID { return m.User }), nil
}

// OfUser returns the groups of a user, in the order of their creation. It fails with
// user.ErrNotFound.
func OfUser(ctx context.Context, tx *db.Tx, member id.ID, p page.Request) (page.List[Group], error) {
	if _, err := user.Get(ctx, tx, member); err != nil {
		return page.List[Group]{}, err
	}
	query, args := `SELECT `+columns+` FROM group_members m JOIN groups g ON g.tenant_id = $1 AND g.id = m.group_id
		WHERE m.tenant_id = $1 AND m.user_id = $2`, []any{member, p.Fetch()}
	if !p.After.IsZero() {
		query, args = query+` AND m.group_id > $4`, append(args, p.After)
	}
	groups, err := db.List(ctx, tx, scanGroup, query+` ORDER BY m.group_id LIMIT $3`, args...)
	if err != nil {
		return page.List[Group]{}, err
	}
	return page.Of(p, groups, idOf), nil
}
