package role

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

const columns = `id, name, description, actions, limits, created_at, updated_at`

func scanRole(row db.Row) (Role, error) {
	var r Role
	var err error
	var actions, limits string
	if err := row.Scan(&r.ID, &r.Name, &r.Description, &actions, &limits, &r.CreatedAt, &r.UpdatedAt); err != nil {
		return Role{}, err
	}
	err = r.decode(actions, limits)
	return r, err
}

// decode reads the columns that are stored as JSON.
func (r *Role) decode(actions, limits string) error {
	if err := json.Unmarshal([]byte(actions), &r.Actions); err != nil {
		return fmt.Errorf("actions of role %s: %w", r.Name, err)
	}
	if err := json.Unmarshal([]byte(limits), &r.Limits); err != nil {
		return fmt.Errorf("limits of role %s: %w", r.Name, err)
	}
	return nil
}

// List returns the built-in roles, then the custom ones in the order of their creation. A tenant
// has at most maxRoles of those.
func List(ctx context.Context, tx *db.Tx) ([]Role, error) {
	own, err := db.List(ctx, tx, scanRole, `SELECT `+columns+` FROM roles WHERE tenant_id = $1 ORDER BY id`)
	if err != nil {
		return nil, err
	}
	return append(Builtins(), own...), nil
}

// Get returns a role by its name, or ErrNotFound.
func Get(ctx context.Context, tx *db.Tx, name string) (Role, error) {
	if r, ok := builtin(name); ok {
		return r, nil
	}
	if !nameRE.MatchString(name) {
		return Role{}, ErrNotFound
	}
	return found(db.One(ctx, tx, scanRole, `SELECT `+columns+` FROM roles WHERE tenant_id = $1 AND name = $2`, name))
}

func found(r Role, err error) (Role, error) {
	if errors.Is(err, db.ErrNoRows) {
		return Role{}, ErrNotFound
	}
	return r, err
}

// Create stores a custom role. by are the rights of the caller.
func Create(ctx context.Context, tx *db.Tx, by Set, d Definition) (Role, error) {
	if err := d.validate(); err != nil {
		return Role{}, err
	}
	if m := by.missing(d.set()); m != "" {
		return Role{}, beyond(m)
	}
	n, err := db.One(ctx, tx, scanCount, `SELECT count(*) FROM roles WHERE tenant_id = $1`)
	if err != nil {
		return Role{}, err
	}
	if n >= maxRoles {
		return Role{}, ErrTooMany
	}
	r := Role{ID: id.New(), Name: d.Name, Description: d.Description, Actions: d.Actions, Limits: d.Limits,
		CreatedAt: tx.Now(), UpdatedAt: tx.Now()}
	_, err = tx.Exec(ctx, `INSERT INTO roles (tenant_id, id, name, description, actions, limits, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $7)`,
		r.ID, r.Name, r.Description, text(r.Actions), text(r.Limits), r.CreatedAt)
	if db.IsConflict(err, "roles", "name") {
		return Role{}, ErrNameTaken
	}
	if err != nil {
		return Role{}, err
	}
	audit.Write(tx, audit.Event{Action: "role.create", Target: r.target(), Changed: audit.Changed(nil, r.fields())})
	return r, nil
}

func text(v any) string {
	b, _ := json.Marshal(v) // texts and ids only
	return string(b)
}

// fields returns what the audit log compares of a role.
func (r Role) fields() any {
	return map[string]any{"description": r.Description, "actions": r.Actions, "limits": r.Limits}
}

func scanCount(row db.Row) (int64, error) {
	var n int64
	err := row.Scan(&n)
	return n, err
}

// lock reads a custom role and locks its row until the transaction ends. What was compared with the
// caller's rights is then what is changed.
func lock(ctx context.Context, tx *db.Tx, name string) (Role, error) {
	if _, ok := builtin(name); ok {
		return Role{}, ErrBuiltin
	}
	if !nameRE.MatchString(name) {
		return Role{}, ErrNotFound
	}
	return found(db.One(ctx, tx, scanRole,
		`UPDATE roles SET updated_at = updated_at WHERE tenant_id = $1 AND name = $2 RETURNING `+columns, name))
}

// Update changes a custom role. Its actions before and after must be within by.
func Update(ctx context.Context, tx *db.Tx, by Set, name string, p Patch) (Role, error) {
	r, err := lock(ctx, tx, name)
	if err != nil {
		return Role{}, err
	}
	d := Definition{Name: name, Description: r.Description, Actions: r.Actions, Limits: r.Limits}
	if p.Description != nil {
		d.Description = *p.Description
	}
	if p.Actions != nil {
		d.Actions = p.Actions
	}
	if p.Limits != nil {
		d.Limits = *p.Limits
	}
	if err := d.validate(); err != nil {
		return Role{}, err
	}
	for _, s := range []Set{r.set(), d.set()} {
		if m := by.missing(s); m != "" {
			return Role{}, beyond(m)
		}
	}
	before := r
	r.Description, r.Actions, r.Limits, r.UpdatedAt = d.Description, d.Actions, d.Limits, tx.Now()
	changed := audit.Changed(before.fields(), r.fields())
	if len(changed) == 0 {
		return before, nil
	}
	tx.Later(
		`UPDATE roles SET description = $3, actions = $4, limits = $5, updated_at = $6
			WHERE tenant_id = $1 AND id = $2`,
		r.ID, r.Description, text(r.Actions), text(r.Limits), r.UpdatedAt)
	tenant.PrincipalsChanged(tx)
	audit.Write(tx, audit.Event{Action: "role.update", Target: r.target(), Changed: changed})
	return r, nil
}

// Delete removes a custom role and its assignments.
//
// application names an application in an audit event (application.TargetOf).
func Delete(ctx context.Context, tx *db.Tx, by Set, name string, application func(id.ID) audit.Target) error {
	r, err := lock(ctx, tx, name)
	if err != nil {
		return err
	}
	if err := by.mayAssign(r); err != nil {
		return err
	}
	told, err := holders(ctx, tx, r, application)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `DELETE FROM role_grants WHERE tenant_id = $1 AND role = $2`, r.Name)
	if err != nil {
		return err
	}
	tx.Later(`DELETE FROM roles WHERE tenant_id = $1 AND id = $2`, r.ID)
	tenant.PrincipalsChanged(tx)
	names := make([]string, 0, len(told))
	for _, s := range told {
		names = append(names, s.Kind+":"+cmp.Or(s.Name, s.ID))
	}
	audit.Write(tx, audit.Event{Action: "role.delete", Target: r.target(), Detail: map[string]any{"grants": n},
		Changed: audit.Changed(r.fields(), nil).With("assigned", names, nil)})
	for _, s := range told {
		writeRevoked(tx, s, r.Name, "role.delete")
	}
	return nil
}

// holders returns the users, groups and applications that have a role assigned, at most
// audit.MaxTold.
func holders(ctx context.Context, tx *db.Tx, r Role, application func(id.ID) audit.Target) ([]audit.Target, error) {
	return db.List(ctx, tx, func(row db.Row) (audit.Target, error) {
		var s audit.Target
		var i id.ID
		err := row.Scan(&s.Kind, &i, &s.Name)
		s.ID = i.String()
		if s.Kind == "application" {
			s = application(i)
		}
		return s, err
	}, `SELECT CASE WHEN a.user_id IS NOT NULL THEN 'user' WHEN a.group_id IS NOT NULL THEN 'group' ELSE 'application' END,
			a.subject_id, COALESCE(`+user.LoginSQL+`, g.name, '')
		FROM role_grants a LEFT JOIN users u ON u.tenant_id = $1 AND u.id = a.user_id
		LEFT JOIN groups g ON g.tenant_id = $1 AND g.id = a.group_id
		WHERE a.tenant_id = $1 AND a.role = $2 ORDER BY a.subject_id LIMIT $3`, r.Name, audit.MaxTold)
}

// Assign assigns a role to a subject, without an end if until is zero. An existing assignment gets
// the new end. An earlier end takes something away, so the caller, whose rights are by, needs
// role.revoke for it. Assign fails with ErrBeyond and ErrNotFound, and with ErrLastOwner if the
// last owner's assignment would get an end.
func Assign(ctx context.Context, tx *db.Tx, by Set, to Subject, name string, until time.Time) error {
	if !until.IsZero() && !until.After(tx.Now()) {
		return errUntilIsPast
	}
	r, err := Get(ctx, tx, name)
	if err != nil {
		return err
	}
	if err := by.mayAssign(r); err != nil {
		return err
	}
	if r.Name == Owner && !until.IsZero() {
		return KeepOwner(ctx, tx, func() error { return assign(ctx, tx, by, to, r, until) })
	}
	return assign(ctx, tx, by, to, r, until)
}

func assign(ctx context.Context, tx *db.Tx, by Set, to Subject, r Role, until time.Time) error {
	if !to.Group.IsZero() {
		if _, err := group.Hold(ctx, tx, to.Group); err != nil {
			return err
		}
	}
	n, err := db.One(ctx, tx, scanCount, `SELECT count(*) FROM role_grants WHERE tenant_id = $1 AND subject_id = $2`,
		to.id())
	if err != nil {
		return err
	}
	if n >= maxGrants {
		return ErrTooMany
	}
	before, err := assigned(ctx, tx, to, r.Name)
	if err != nil {
		return err
	}
	later := ` WHERE excluded.until IS NULL OR excluded.until >= role_grants.until`
	if by.Allows("role.revoke") {
		later = ""
	}
	written, err := tx.Exec(ctx,
		`INSERT INTO role_grants (tenant_id, subject_id, role, role_id, user_id, application_id, group_id, until, granted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (tenant_id, subject_id, role) DO UPDATE SET until = excluded.until, granted_at = excluded.granted_at`+
			later,
		to.id(), r.Name, r.ID, to.User, to.Application, to.Group, until, tx.Now())
	if db.IsForeignKey(err) {
		return errNoSubject
	}
	if err != nil {
		return err
	}
	if written == 0 {
		return fault.New(ErrBeyond.Kind, ErrBeyond.Code, "The role would end earlier than now. That needs role.revoke.")
	}
	detail := map[string]any{"role": r.Name}
	if !until.IsZero() {
		detail["until"] = until.UTC().Format(time.RFC3339)
	}
	tenant.PrincipalsChanged(tx)
	changed := audit.Changed(before, detail)
	if len(changed) == 0 {
		return nil
	}
	audit.Write(tx, audit.Event{Action: "role.grant", Target: to.target(), Detail: detail, Changed: changed})
	return nil
}

// assigned returns what the audit log says of a subject's assignment of a role, or nil for none.
func assigned(ctx context.Context, tx *db.Tx, s Subject, name string) (map[string]any, error) {
	until, err := db.One(ctx, tx, func(row db.Row) (time.Time, error) {
		var t time.Time
		err := row.Scan(&t)
		return t, err
	}, `SELECT until FROM role_grants WHERE tenant_id = $1 AND subject_id = $2 AND role = $3`, s.id(), name)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil //nolint:nilnil // no assignment
	}
	detail := map[string]any{"role": name}
	if !until.IsZero() {
		detail["until"] = until.UTC().Format(time.RFC3339)
	}
	return detail, err
}

// Revoke revokes a role from a subject. It fails with ErrBeyond, ErrNotFound, ErrNotGranted and
// ErrLastOwner.
func Revoke(ctx context.Context, tx *db.Tx, by Set, from Subject, name string) error {
	r, err := Get(ctx, tx, name)
	if err != nil {
		return err
	}
	if err := by.mayAssign(r); err != nil {
		return err
	}
	if r.Name == Owner {
		return KeepOwner(ctx, tx, func() error { return revoke(ctx, tx, from, r) })
	}
	return revoke(ctx, tx, from, r)
}

func revoke(ctx context.Context, tx *db.Tx, from Subject, r Role) error {
	n, err := tx.Exec(ctx, `DELETE FROM role_grants WHERE tenant_id = $1 AND subject_id = $2 AND role = $3`, from.id(),
		r.Name)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNotGranted
	}
	tenant.PrincipalsChanged(tx)
	writeRevoked(tx, from.target(), r.Name, "")
	return nil
}

// writeRevoked writes the audit event of a subject that lost a role. reason is the action that took
// the role, or "" if that is role.revoke itself.
func writeRevoked(tx *db.Tx, from audit.Target, name, reason string) {
	detail := map[string]any{"role": name}
	if reason != "" {
		detail["reason"] = reason
	}
	audit.Write(tx, audit.Event{Action: "role.revoke", Target: from, Detail: detail,
		Changed: audit.Changes{}.With("role", name, nil)})
}

// NamesOf returns the roles of a subject by name, without those of a user's groups.
func NamesOf(ctx context.Context, tx *db.Tx, s Subject) ([]string, error) {
	assigned, err := AssignmentsOf(ctx, tx, s)
	names := make([]string, 0, len(assigned))
	for _, a := range assigned {
		names = append(names, a.Role)
	}
	return names, err
}

// AssignmentsOf returns a subject's assignments by role name, including expired ones.
func AssignmentsOf(ctx context.Context, tx *db.Tx, s Subject) ([]Assignment, error) {
	return db.List(ctx, tx, func(row db.Row) (Assignment, error) {
		var g Assignment
		err := row.Scan(&g.Role, &g.Until, &g.GrantedAt)
		return g, err
	}, `SELECT role, until, granted_at FROM role_grants WHERE tenant_id = $1 AND subject_id = $2 ORDER BY role`, s.id())
}

// ActionsOf returns the rights of a subject at this moment: the union of its unexpired roles and of
// its groups' roles. A user who is not active has none. It is one query.
func ActionsOf(ctx context.Context, tx *db.Tx, s Subject) (Set, error) {
	active := ""
	if !s.User.IsZero() {
		active = ` AND EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = $1 AND u.id = $2 AND u.status = 'active')`
	}
	roles, err := held(ctx, tx, s, active)
	return setOf(roles...), err
}

// MayManage fails with ErrOutranked unless by covers the rights of the subject. A caller who can
// change a user's address, password or status, or an application's secret, can become that subject.
// The roles of a locked user count too.
func MayManage(ctx context.Context, tx *db.Tx, by Set, s Subject) error {
	roles, err := held(ctx, tx, s, "")
	if err != nil {
		return err
	}
	if !by.covers(setOf(roles...)) {
		return ErrOutranked
	}
	return nil
}

// MayEnd fails with ErrOutranked unless the caller may end the subject's sessions and grants. That
// is MayManage, because a caller could keep an owner signed out. Callers may always end their own.
func MayEnd(ctx context.Context, tx *db.Tx, req api.Request, s Subject) error {
	if actor := req.Caller.Actor.ID; !actor.IsZero() && actor == s.id() {
		return nil
	}
	return MayManage(ctx, tx, Of(req.Rights), s)
}

// mayAssignAll fails with ErrBeyond unless by allows the action (role.grant or role.revoke) for
// every role of the group. The group must be held (group.Hold), so that it gets no other role
// meanwhile.
func mayAssignAll(ctx context.Context, tx *db.Tx, by Set, g id.ID, action string) error {
	roles, err := held(ctx, tx, OfGroup(g), "")
	if err != nil || len(roles) == 0 {
		return err
	}
	if !by.Allows(action) {
		return beyond(action)
	}
	for _, r := range roles {
		if err := by.mayAssign(r); err != nil {
			return err
		}
	}
	return nil
}

// held returns the subject's unexpired roles by name, including those of a user's groups.
func held(ctx context.Context, tx *db.Tx, s Subject, condition string) ([]Role, error) {
	const of = ` LEFT JOIN roles r ON r.tenant_id = $1 AND r.id = g.role_id WHERE `
	const lasting = ` AND (g.until IS NULL OR g.until > $3)`
	query := `SELECT g.role, COALESCE(r.actions, '[]'), COALESCE(r.limits, '{}') FROM role_grants g` + of +
		`g.tenant_id = $1 AND g.subject_id = $2` + lasting + condition
	if !s.User.IsZero() {
		query += ` UNION SELECT g.role, COALESCE(r.actions, '[]'), COALESCE(r.limits, '{}') FROM group_members m
			JOIN role_grants g ON g.tenant_id = $1 AND g.subject_id = m.group_id` +
			of + `m.tenant_id = $1 AND m.user_id = $2` + lasting + condition
	}
	return db.List(ctx, tx, func(row db.Row) (Role, error) {
		var r Role
		var err error
		var actions, limits string
		if err := row.Scan(&r.Name, &actions, &limits); err != nil {
			return Role{}, err
		}
		if b, ok := builtin(r.Name); ok {
			return b, nil
		}
		err = r.decode(actions, limits)
		return r, err
	}, query+` ORDER BY 1`, s.id(), tx.Now())
}
