package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

const columns = `s.id, s.user_id, s.created_at, s.auth_time, s.last_seen_at, s.expires_at, s.idle, s.amr, s.acr,
	s.address, s.agent, coalesce(s.generation, u.generation)`

// from joins what decides whether a session s counts, and alive says whether it does at now. A
// session of the version before has no generation.
const from = ` FROM sessions s
	JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
	JOIN tenants t ON t.id = s.tenant_id`

func alive(now string) string {
	return ` AND s.ended_at IS NULL AND s.expires_at > ` + now + ` AND s.last_seen_at + s.idle > ` + now + `
		AND (s.generation IS NULL OR s.generation = u.generation)
		AND (t.signed_out_at IS NULL OR s.created_at > t.signed_out_at)`
}

// Start creates a session and returns it with its token. The token goes into the browser's cookie
// and is stored nowhere.
func Start(ctx context.Context, tx *db.Tx, n New) (Session, secret.String, error) {
	now, c := tx.Now(), tx.Caller()
	token, hash := secret.NewToken(secret.Session, tx.Tenant())
	s := Session{
		ID: id.New(), User: n.User, UserName: n.UserName, CreatedAt: now, AuthTime: n.AuthTime, LastSeen: now,
		Idle: n.Idle, AMR: slices.Clone(n.AMR), ACR: n.ACR, Agent: c.Agent, Generation: n.Generation,
	}
	if c.Address.IsValid() {
		s.Address = c.Address.String()
	}
	if s.AuthTime.IsZero() {
		s.AuthTime = now
	}
	if s.Idle <= 0 {
		s.Idle = defaultIdle
	}
	if n.Max <= 0 {
		n.Max = defaultMax
	}
	s.ExpiresAt = now.Add(n.Max)
	amr, err := json.Marshal(s.AMR)
	if err != nil {
		return Session{}, "", fmt.Errorf("session: %w", err)
	}
	if _, err := tx.Exec(ctx,
		`INSERT INTO sessions (tenant_id, id, user_id, token_hash, created_at, auth_time, last_seen_at, expires_at, idle,
			amr, acr, address, agent, generation)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		s.ID, s.User, hash, s.CreatedAt, s.AuthTime, s.LastSeen, s.ExpiresAt, s.Idle.Microseconds(), string(amr), s.ACR,
		s.Address, s.Agent, s.Generation); err != nil {
		return Session{}, "", err
	}
	// Sessions that ended long ago must not pile up.
	tx.Sweep(`DELETE FROM sessions WHERE tenant_id = $1 AND id IN (
		SELECT id FROM sessions WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at, id LIMIT $3)`,
		now.Add(-keepEnded), db.SweepLimit)
	audit.Write(tx, audit.Event{
		Action: "session.start", Target: target(s.ID, n.UserName), Outcome: audit.Success,
		Detail: map[string]any{"user": s.User.String(), "amr": s.AMR, "acr": s.ACR},
	})
	return s, token, nil
}

// Renew replaces the token of an active session of n.User, and what was proved. The session stays,
// so that the grants of applications stay valid. The old token opens nothing. The limits of n can
// only shorten the session, unless n.AuthTime is newer: only a new sign-in prolongs a session. The
// session goes on in n's generation, also if the caller has just begun that one. It fails with
// ErrNotFound.
func Renew(ctx context.Context, tx *db.Tx, session id.ID, n New) (Session, secret.String, error) {
	s, err := db.One(ctx, tx, scan, `SELECT `+columns+from+` WHERE s.tenant_id = $1 AND s.id = $2
		AND s.last_seen_at + s.idle > $3`, session, tx.Now())
	if errors.Is(err, db.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Session{}, "", err
	}
	token, hash := secret.NewToken(secret.Session, tx.Tenant())
	now := tx.Now()
	if n.AuthTime.IsZero() {
		n.AuthTime = now
	}
	idle, end := n.Idle, now.Add(n.Max)
	if idle <= 0 {
		idle = s.Idle
	}
	if n.Max <= 0 {
		end = s.ExpiresAt
	}
	if !n.AuthTime.After(s.AuthTime) {
		idle, end = min(idle, s.Idle), earlier(end, s.ExpiresAt)
	}
	s.UserName, s.AMR, s.ACR, s.AuthTime = n.UserName, slices.Clone(n.AMR), n.ACR, n.AuthTime
	s.LastSeen, s.Idle, s.ExpiresAt, s.Generation = now, idle, end, n.Generation
	amr, err := json.Marshal(s.AMR)
	if err != nil {
		return Session{}, "", fmt.Errorf("session: %w", err)
	}
	rows, err := tx.Exec(ctx,
		`UPDATE sessions SET token_hash = $4, auth_time = $5, amr = $6, acr = $7, last_seen_at = $8, expires_at = $9, idle = $10,
			generation = $11
		WHERE tenant_id = $1 AND id = $2 AND user_id = $3 AND ended_at IS NULL AND expires_at > $8`,
		s.ID, n.User, hash, s.AuthTime, string(amr), s.ACR, now, s.ExpiresAt, s.Idle.Microseconds(), s.Generation)
	switch {
	case err != nil:
		return Session{}, "", err
	case rows == 0:
		return Session{}, "", ErrNotFound
	}
	audit.Write(tx, audit.Event{
		Action: "session.renew", Target: target(s.ID, n.UserName), Outcome: audit.Success,
		Detail: map[string]any{"user": s.User.String(), "amr": s.AMR, "acr": s.ACR},
	})
	return s, token, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Find returns the active session that the first of the tokens opens which opens any, or ErrNone.
// One query a token checks the session, its user and its tenant, and tells of a second factor.
func Find(ctx context.Context, tx *db.Tx, tokens ...string) (Session, error) {
	return find(ctx, tx, secret.Session, `SELECT `+found+from+`
		WHERE s.tenant_id = $1 AND s.token_hash = $2`+usable, tokens)
}

// found are the columns of scanFound.
const found = columns + `, ` + user.LoginSQL + `, ` + credential.SecondFactorSQL

// usable says whether the session s, its user and its tenant count at $3.
var usable = alive("$3") + ` AND u.status = 'active' AND t.status = 'active'`

// find returns the session that query reads for the hash of one of the tokens, or ErrNone.
func find(ctx context.Context, tx *db.Tx, kind, query string, tokens []string) (Session, error) {
	for _, token := range tokens {
		t, err := secret.ParseToken(token)
		if err != nil || t.Kind != kind || t.Tenant != tx.Tenant() {
			continue
		}
		s, err := db.One(ctx, tx, scanFound, query, t.Hash, tx.Now())
		if !errors.Is(err, db.ErrNoRows) {
			return s, err
		}
	}
	return Session{}, ErrNone
}

// Touch records a visit, at most once a minute.
func Touch(tx *db.Tx, session id.ID) {
	tx.Later(
		`UPDATE sessions SET last_seen_at = $3 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL
			AND last_seen_at <= $4`,
		session, tx.Now(), tx.Now().Add(-touchEvery))
}

// Get returns the active session with this id, or ErrNotFound.
func Get(ctx context.Context, tx *db.Tx, session id.ID) (Session, error) {
	s, err := db.One(ctx, tx, scan, `SELECT `+columns+from+`
		WHERE s.tenant_id = $1 AND s.id = $2`+alive("$3"), session, tx.Now())
	if errors.Is(err, db.ErrNoRows) {
		return Session{}, ErrNotFound
	}
	return s, err
}

// hold is Get, and locks the session until the transaction ends.
func hold(ctx context.Context, tx *db.Tx, session id.ID) (Session, error) {
	if _, err := tx.Exec(ctx, `UPDATE sessions SET ended_at = ended_at WHERE tenant_id = $1 AND id = $2`,
		session); err != nil {
		return Session{}, err
	}
	return Get(ctx, tx, session)
}

// filterable are the attributes that policies may limit the list by.
var filterable = filter.Columns{"id": {SQL: "s.id", Kind: filter.ID}}

// List returns at most limit active sessions that shown admits, with ids greater than after, oldest
// first. user limits it to one user, unless it is zero.
func List(ctx context.Context, tx *db.Tx, shown filter.Filter, user, after id.ID, limit int) ([]Session, error) {
	args := []any{floor(after), tx.Now(), limit}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	where, err := shown.SQL(filterable, arg)
	if err != nil {
		return nil, err
	}
	if !user.IsZero() {
		where += ` AND s.user_id = ` + arg(user)
	}
	return db.List(ctx, tx, scan, `SELECT `+columns+from+`
		WHERE s.tenant_id = $1 AND s.id > $2`+alive("$3")+where+`
		ORDER BY s.id LIMIT $4`, args...)
}

// Revoke ends a session. It fails with ErrNotFound if the session has ended already. reason is for
// the audit log: "signout", "operator".
func Revoke(ctx context.Context, tx *db.Tx, session id.ID, reason string) error {
	n, err := tx.Exec(ctx, `UPDATE sessions SET ended_at = $3, end_reason = $4
		WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3`, session, tx.Now(), reason)
	switch {
	case err != nil:
		return err
	case n == 0:
		return ErrNotFound
	}
	audit.Write(tx, audit.Event{
		Action: "session.revoke", Target: targetOf(session), Outcome: audit.Success,
		Detail: map[string]any{"reason": reason},
	})
	return nil
}

// RevokeAll ends every session of user except one (zero: except none), and returns how many it
// ended.
func RevokeAll(ctx context.Context, tx *db.Tx, of, except id.ID, reason string) (int64, error) {
	if except.IsZero() {
		except = noID
	}
	n, err := tx.Exec(ctx, `UPDATE sessions SET ended_at = $4, end_reason = $5
		WHERE tenant_id = $1 AND user_id = $2 AND id <> $3 AND ended_at IS NULL AND expires_at > $4`, of, except,
		tx.Now(), reason)
	if err != nil || n == 0 {
		return n, err
	}
	audit.Write(tx, audit.Event{
		Action: "session.revoke", Target: user.TargetOf(of), Outcome: audit.Success,
		Detail: map[string]any{"reason": reason, "sessions": n},
	})
	return n, nil
}

// Actor returns the session's user as the actor of further transactions.
func (s Session) Actor(tenant id.ID) caller.Actor {
	return caller.Actor{Kind: caller.User, ID: s.User, Tenant: tenant, Name: s.UserName, Session: s.ID}
}

// noID is an id that no row has. The database reads the zero ID as NULL, which equals nothing.
var noID = id.ID{15: 1}

func floor(after id.ID) id.ID {
	if after.IsZero() {
		return noID
	}
	return after
}

// targetOf is target for a session of which only the id is known.
func targetOf(session id.ID) audit.Target {
	return audit.ByID("session", session, `SELECT `+user.LoginSQL+` FROM sessions s
		JOIN users u ON u.tenant_id = $1 AND u.id = s.user_id WHERE s.tenant_id = $1 AND s.id = $2`)
}

func target(session id.ID, name string) audit.Target {
	return audit.Target{Kind: "session", ID: session.String(), Name: name}
}

func scan(r db.Row) (Session, error) { return scanInto(r) }

func scanFound(r db.Row) (Session, error) {
	var login string
	var second bool
	s, err := scanInto(r, &login, &second)
	s.UserName, s.SecondFactor = login, second
	return s, err
}

func scanInto(r db.Row, more ...any) (Session, error) {
	var (
		s    Session
		idle int64
		amr  string
	)
	dest := append([]any{&s.ID, &s.User, &s.CreatedAt, &s.AuthTime, &s.LastSeen, &s.ExpiresAt, &idle, &amr, &s.ACR,
		&s.Address, &s.Agent, &s.Generation}, more...)
	if err := r.Scan(dest...); err != nil {
		return Session{}, err
	}
	s.Idle = time.Duration(idle) * time.Microsecond
	if err := json.Unmarshal([]byte(amr), &s.AMR); err != nil {
		return Session{}, fmt.Errorf("session: %s cannot be read: %w", s.ID, err)
	}
	return s, nil
}
