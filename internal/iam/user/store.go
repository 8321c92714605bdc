package user

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// columns are those of a User. The other texts are the parts of statements that a profile's fields
// determine.
var (
	columns     = `id, status, created_at, updated_at, last_sign_in, generation, ` + inserted
	inserted    = profileColumns()
	values      = profilePlaceholders(7)
	assignments = profileAssignments(6)
)

func scanUser(row db.Row) (User, error) {
	var u User
	err := row.Scan(append([]any{&u.ID, &u.Status, &u.CreatedAt, &u.UpdatedAt, &u.LastSignIn, &u.Generation},
		u.pointers()...)...)
	return u, err
}

// found maps a missing row to ErrNotFound.
func found(u User, err error) (User, error) {
	if errors.Is(err, db.ErrNoRows) {
		return User{}, ErrNotFound
	}
	return u, err
}

// taken maps a violated unique index to its fault.
func taken(err error) error {
	switch {
	case db.IsConflict(err, "users", "email_key"):
		return ErrEmailTaken
	case db.IsConflict(err, "users", "username_key"):
		return ErrUsernameTaken
	}
	return err
}

// Create adds an active user. It fails with an Invalid fault that names every wrong field, with
// ErrEmailTaken, with ErrUsernameTaken or with tenant.ErrLimit.
func Create(ctx context.Context, tx *db.Tx, p Profile) (User, error) {
	return create(ctx, tx, p, Active)
}

// Invite adds a user who has not chosen a credential yet. It fails as Create does.
func Invite(ctx context.Context, tx *db.Tx, p Profile) (User, error) {
	return create(ctx, tx, p, Invited)
}

func create(ctx context.Context, tx *db.Tx, p Profile, status Status) (User, error) {
	d, err := p.normalise()
	if err != nil {
		return User{}, err
	}
	if err := tenant.TakePlace(ctx, tx, tenant.LimitUsers, howMany(ctx, tx)); err != nil {
		return User{}, err
	}
	u := User{ID: id.New(), Profile: p, Status: status, CreatedAt: tx.Now(), UpdatedAt: tx.Now()}
	args := append([]any{u.ID, u.Status, u.CreatedAt, d.emailKey, d.usernameKey}, p.values()...)
	_, err = tx.Exec(ctx, `INSERT INTO users (tenant_id, id, status, created_at, updated_at, email_key, username_key, `+
		inserted+`)
		VALUES ($1, $2, $3, $4, $4, $5, $6, `+values+`)`, args...)
	if err != nil {
		return User{}, taken(err)
	}
	insertTerms(tx, u.ID, d.terms)
	audit.Write(tx, audit.Event{Action: "user.create", Target: u.Target(),
		Changed: audit.Changed(nil, u.Profile).With("status", nil, u.Status)})
	return u, nil
}

func howMany(ctx context.Context, tx *db.Tx) func() (int64, error) {
	return func() (int64, error) {
		return db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM users WHERE tenant_id = $1`)
	}
}

// CheckRoom fails with tenant.ErrLimit if the tenant may add no user.
func CheckRoom(ctx context.Context, tx *db.Tx) error {
	return tenant.CheckPlace(ctx, tx, tenant.LimitUsers, howMany(ctx, tx))
}

func insertTerms(tx *db.Tx, user id.ID, terms []string) {
	if len(terms) == 0 {
		return
	}
	var b strings.Builder
	b.WriteString(`INSERT INTO user_terms (tenant_id, user_id, term) VALUES ($1, $2, $3)`)
	args := []any{user, terms[0]}
	for i, t := range terms[1:] {
		fmt.Fprintf(&b, `, ($1, $2, $%d)`, i+4)
		args = append(args, t)
	}
	tx.Later(b.String(), args...)
}

// Get returns a user, or ErrNotFound.
func Get(ctx context.Context, tx *db.Tx, user id.ID) (User, error) {
	return found(db.One(ctx, tx, scanUser, `SELECT `+columns+` FROM users WHERE tenant_id = $1 AND id = $2`, user))
}

// GetLater defers Get. The row of the user, if there is one, is in out once the transaction has
// ended.
func GetLater(tx *db.Tx, out *[]User, user id.ID) {
	db.LaterList(tx, scanUser, out, `SELECT `+columns+` FROM users WHERE tenant_id = $1 AND id = $2`, user)
}

// ByLogin returns the user with this email address or username, in any case and of any status, or
// ErrNotFound. A text that can be neither is not found.
func ByLogin(ctx context.Context, tx *db.Tx, login string) (User, error) {
	column := "email_key"
	key, ok := EmailKey(login)
	if !ok {
		column = "username_key"
		_, key, ok = parseUsername(login)
	}
	if !ok {
		return User{}, ErrNotFound
	}
	return found(db.One(ctx, tx, scanUser, `SELECT `+columns+` FROM users WHERE tenant_id = $1 AND `+column+` = $2`,
		key))
}

// filterable are the attributes that policies may limit the list by.
var filterable = filter.Columns{"id": {SQL: "id", Kind: filter.ID}}

// List returns the users that shown lets through, in the order of their creation.
func List(ctx context.Context, tx *db.Tx, shown filter.Filter, f Filter, p page.Request) (page.List[User], error) {
	var b strings.Builder
	b.WriteString(`SELECT ` + columns + ` FROM users WHERE tenant_id = $1`)
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	limit, err := shown.SQL(filterable, arg)
	if err != nil {
		return page.List[User]{}, err
	}
	b.WriteString(limit)
	if f.Status != "" {
		if !slices.Contains(statuses, f.Status) {
			return page.List[User]{},
				fault.InvalidField("user.invalid", "status",
					"The status is one of invited, active, locked and deactivated.")
		}
		b.WriteString(` AND status = ` + arg(string(f.Status)))
	}
	if f.Email != "" {
		key, ok := EmailKey(f.Email)
		if !ok {
			return page.Of(p, nil, idOf), nil
		}
		b.WriteString(` AND email_key = ` + arg(key))
	}
	search := strings.TrimSpace(f.Search)
	if key, ok := EmailKey(search); ok {
		search = key // a whole address, however typed
	}
	if prefix := fold(search); prefix != "" {
		// A prefix as a range in byte order; U+10FFFF sorts after every other character.
		b.WriteString(` AND id IN (SELECT user_id FROM user_terms WHERE tenant_id = $1 AND term >= ` + arg(prefix) +
			` AND term < ` + arg(prefix+"\U0010FFFF") + `)`)
	}
	if !p.After.IsZero() {
		b.WriteString(` AND id > ` + arg(p.After))
	}
	b.WriteString(` ORDER BY id LIMIT ` + arg(p.Fetch()))
	users, err := db.List(ctx, tx, scanUser, b.String(), args...)
	if err != nil {
		return page.List[User]{}, err
	}
	return page.Of(p, users, idOf), nil
}

func idOf(u User) id.ID { return u.ID }

// Hold reads a user in order to change it or its credentials. Its row is locked until the
// transaction ends, so that concurrent changes do not lose one another. It fails with ErrNotFound.
func Hold(ctx context.Context, tx *db.Tx, user id.ID) (User, error) {
	return found(db.One(ctx, tx, scanUser,
		`UPDATE users SET updated_at = updated_at WHERE tenant_id = $1 AND id = $2 RETURNING `+columns, user))
}

// Update edits a copy of a user's profile and stores it. A changed email address is unverified
// unless edit says otherwise. edit may run twice, and must replace Attributes instead of changing
// what the map holds. Update fails as Create does, and with ErrNotFound.
func Update(ctx context.Context, tx *db.Tx, user id.ID, edit func(*Profile)) (User, error) {
	old, err := Hold(ctx, tx, user)
	if err != nil {
		return User{}, err
	}
	u := old
	edit(&u.Profile)
	oldKey, _ := EmailKey(old.Email)
	if key, _ := EmailKey(u.Email); key != oldKey {
		u.Profile = old.Profile
		u.EmailVerified = false
		edit(&u.Profile)
	}
	d, err := u.normalise()
	if err != nil {
		return User{}, err
	}
	changed := audit.Changed(old.Profile, u.Profile)
	if len(changed) == 0 {
		return old, nil
	}
	u.UpdatedAt = tx.Now()
	args := append([]any{u.ID, u.UpdatedAt, d.emailKey, d.usernameKey}, u.values()...)
	_, err = tx.Exec(ctx, `UPDATE users SET updated_at = $3, email_key = $4, username_key = $5, `+assignments+`
		WHERE tenant_id = $1 AND id = $2`, args...)
	if err != nil {
		return User{}, taken(err)
	}
	if !slices.Equal(d.terms, old.terms()) {
		tx.Later(`DELETE FROM user_terms WHERE tenant_id = $1 AND user_id = $2`, u.ID)
		insertTerms(tx, u.ID, d.terms)
	}
	tenant.PrincipalsChanged(tx)
	audit.Write(tx, audit.Event{Action: "user.update", Target: u.Target(), Changed: changed})
	return u, nil
}

// SetStatus changes a user's status. It does nothing if the user has that status. It fails with
// ErrNotFound, with ErrStatus if the status cannot follow, and as keep does. Once it is committed,
// sessions and grants of a user who is not active no longer count.
func SetStatus(ctx context.Context, tx *db.Tx, keep KeepOwner, user id.ID, to Status) (User, error) {
	if to == Active {
		return move(ctx, tx, user, to)
	}
	var u User
	err := keep(ctx, tx, func() error {
		var err error
		u, err = move(ctx, tx, user, to)
		return err
	})
	return u, err
}

func move(ctx context.Context, tx *db.Tx, user id.ID, to Status) (User, error) {
	u, err := Hold(ctx, tx, user)
	if err != nil || u.Status == to {
		return u, err
	}
	action, ok := moves[u.Status][to]
	if !ok {
		return User{}, fault.New(ErrStatus.Kind, ErrStatus.Code, "A user who is %s cannot become %s.", u.Status, to)
	}
	from := u.Status
	u.Status, u.UpdatedAt = to, tx.Now()
	ended := 0
	if to != Active { // so that activating the user again brings nothing back
		ended = 1
	}
	tx.Later(`UPDATE users SET status = $3, updated_at = $4, generation = generation + $5
		WHERE tenant_id = $1 AND id = $2`, user, to, u.UpdatedAt, ended)
	tenant.PrincipalsChanged(tx)
	audit.Write(tx, audit.Event{Action: action, Target: u.Target(),
		Changed: audit.Changes{}.With("status", from, to)})
	return u, nil
}

// NextGeneration ends everything that the user has proved: sessions, grants and the proofs in flows
// of this generation do not count once it is committed. It fails with ErrNotFound.
func NextGeneration(ctx context.Context, tx *db.Tx, user id.ID) error {
	n, err := tx.Exec(ctx, `UPDATE users SET generation = generation + 1 WHERE tenant_id = $1 AND id = $2`, user)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// VerifyEmail records that the user receives mail at the stored address. emailKey is the address
// that was proven. If the user has another address by now, nothing changes. An invited user becomes
// active.
func VerifyEmail(ctx context.Context, tx *db.Tx, user id.ID, emailKey string) error {
	u, err := Hold(ctx, tx, user)
	if err != nil {
		return err
	}
	if key, ok := EmailKey(u.Email); !ok || key != emailKey {
		return nil
	}
	if !u.EmailVerified {
		tx.Later(`UPDATE users SET email_verified = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2`, user, true,
			tx.Now())
		tenant.PrincipalsChanged(tx)
		audit.Write(tx, audit.Event{Action: "user.verify_email", Target: u.Target(),
			Changed: audit.Changes{}.With("email_verified", false, true)})
	}
	if u.Status == Invited {
		_, err = move(ctx, tx, user, Active)
	}
	return err
}

// SignedIn records the time of a sign-in. It costs no round trip.
func SignedIn(tx *db.Tx, user id.ID) {
	tx.Later(`UPDATE users SET last_sign_in = $3 WHERE tenant_id = $1 AND id = $2`, user, tx.Now())
}

// Delete removes a user and everything that exists only through it: credentials, role assignments,
// memberships, sessions, grants. Audit events stay. It fails with ErrNotFound, and as
// roles.KeepOwner does.
func Delete(ctx context.Context, tx *db.Tx, roles Roles, user id.ID) error {
	return roles.KeepOwner(ctx, tx, func() error {
		inGroups, hadRoles, err := roles.Held(ctx, tx, user)
		if err != nil {
			return err
		}
		u, err := found(db.One(ctx, tx, scanUser,
			`DELETE FROM users WHERE tenant_id = $1 AND id = $2 RETURNING `+columns, user))
		if err != nil {
			return err
		}
		tenant.PrincipalsChanged(tx)
		audit.Write(tx, audit.Event{Action: "user.delete", Target: u.Target(),
			Changed: audit.Changes{}.With("groups", inGroups, nil).With("roles", hadRoles, nil)})
		return nil
	})
}
