package grant

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Grant is one authorization of an application by a user.
type Grant struct {
	ID          id.ID
	Application id.ID
	User        id.ID
	Session     id.ID    // the browser session that it was given in
	Offline     bool     // outlives the session (offline_access, OpenID Connect Core §11)
	Scopes      []string // the ceiling: no token of the grant has more
	Resources   []string // the identifiers of the APIs that its tokens may be for, the default first; empty: the tenant
	Claims      string   // the claims parameter of the request (Core §5.5), or ""
	Nonce       string
	AuthTime    time.Time
	AMR         []string
	ACR         string
	Address     string // the network address of the person's browser; "" if it is not known
	CreatedAt   time.Time
	ExpiresAt   time.Time // the end of the whole family
}

// Outcome is the result of redeeming a code or a refresh token.
type Outcome string

// The outcomes. All but Accepted are refusals that the transaction must commit.
const (
	Accepted Outcome = "accepted"
	Unknown  Outcome = "unknown" // does not exist, belongs to another application, or its grant is not valid
	Expired  Outcome = "expired"
	Replayed Outcome = "replayed"  // was used before: its grant and all tokens of it are revoked
	Mismatch Outcome = "mismatch"  // wrong redirect_uri or verifier: the code and its grant are revoked
	RuledOut Outcome = "ruled out" // the rules of signing in refuse the user now
)

// outlives reports whether a grant g outlives its session. Its application may have lost that
// since.
const outlives = `(g.offline AND g.application_generation >= coalesce((SELECT ap.offline_from
	FROM applications ap WHERE ap.tenant_id = $1 AND ap.id = g.application_id), 0))`

const grantColumns = `g.id, g.application_id, g.user_id, g.session_id, ` + outlives + `,
	coalesce(nullif(g.all_scopes, ''), g.scopes), g.claims, g.nonce,
	g.auth_time, g.amr, g.acr, g.address, g.created_at, g.expires_at, g.resources`

// scan scans a row's grantColumns, and then more.
func (g *Grant) scan(r db.Row, more ...any) error {
	var scopes, amr string
	err := r.Scan(append([]any{&g.ID, &g.Application, &g.User, &g.Session, &g.Offline, &scopes, &g.Claims, &g.Nonce,
		&g.AuthTime, &amr, &g.ACR, &g.Address, &g.CreatedAt, &g.ExpiresAt, (*listed)(&g.Resources)}, more...)...)
	g.Scopes, g.AMR = split(scopes), split(amr)
	return err
}

func scanGrant(r db.Row) (Grant, error) {
	var g Grant
	err := g.scan(r)
	return g, err
}

// living is the condition under which a grant g is valid at $2: not revoked, not expired, and its
// session alive unless it is offline. Its user is active and in the grant's generation, which a row
// of the version before does not have. Its application is active, and has ended nothing that
// includes the grant.
//
// It reads each table by its key. Beside a range of times that has an index, Postgres may plan for
// a small table, keep the plan, and later read all that the tenant has.
const living = `(g.revoked_at IS NULL AND g.expires_at - $2 > 0
	AND coalesce((SELECT u.status = 'active' AND (g.generation IS NULL OR g.generation = u.generation)
		FROM users u WHERE u.tenant_id = $1 AND u.id = g.user_id), false)
	AND coalesce((SELECT t.status = 'active' AND (t.signed_out_at IS NULL OR g.created_at > t.signed_out_at)
		FROM tenants t WHERE t.id = $1), false)
	AND coalesce((SELECT ap.status = 'active' AND g.application_generation >= ap.grants_from
			AND (g.offline AND g.application_generation >= ap.offline_from
				OR coalesce((SELECT s.ended_at IS NULL AND s.expires_at - $2 > 0 AND s.last_seen_at + s.idle > $2
					FROM sessions s WHERE s.tenant_id = $1 AND s.id = g.session_id), false))
		FROM applications ap WHERE ap.tenant_id = $1 AND ap.id = g.application_id), false))`

// loginOfUser is the login of a grant's user.
const loginOfUser = `(SELECT ` + user.LoginSQL + ` FROM users u WHERE u.tenant_id = $1 AND u.id = g.user_id)`

var errNotFound = fault.New(fault.NotFound, "grant.not_found", "There is no grant with this id.")

// revoke ends a grant and every token of it. It fails with errNotFound if the grant has already
// ended. reason is for the audit log.
func revoke(ctx context.Context, tx *db.Tx, grant id.ID, reason string) error {
	n, err := tx.Exec(ctx, `UPDATE grants SET revoked_at = $3
		WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL`, grant, tx.Now())
	if err != nil {
		return err
	}
	if n == 0 {
		return errNotFound
	}
	audit.Write(tx, audit.Event{
		Action: "grant.revoke", Target: target(grant), Detail: map[string]any{"reason": reason},
	})
	return nil
}

// revokeLater ends a grant at the commit, as a part of a refusal with an audit event of its own.
func revokeLater(tx *db.Tx, grant id.ID) {
	tx.Later(`UPDATE grants SET revoked_at = $3
		WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL`, grant, tx.Now())
}

// endUngivenLater ends a grant that gave no token, at the commit. Its row goes a day later, and not
// at the end of the lifetime that its tokens would have had.
func endUngivenLater(tx *db.Tx, grant id.ID) {
	tx.Later(`UPDATE grants SET revoked_at = coalesce(revoked_at, $3), expires_at = $3
		WHERE tenant_id = $1 AND id = $2 AND expires_at > $3`, grant, tx.Now())
}

// RevokeOfUser ends all grants of a user, offline ones too.
func RevokeOfUser(tx *db.Tx, of id.ID, reason string) {
	tx.Later(`UPDATE grants SET revoked_at = $3
		WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL`, of, tx.Now())
	audit.Write(tx, audit.Event{
		Action: "grant.revoke_all", Target: user.TargetOf(of),
		Detail: map[string]any{"reason": reason},
	})
}

// RevokeOfApplication ends all grants of an application, and its own opaque tokens. It fails with
// application.ErrNotFound.
func RevokeOfApplication(ctx context.Context, tx *db.Tx, of id.ID, reason string) error {
	if err := application.NextGeneration(ctx, tx, of, application.Grants); err != nil {
		return err
	}
	audit.Write(tx, audit.Event{
		Action: "grant.revoke_all", Target: application.TargetOf(of),
		Detail: map[string]any{"reason": reason},
	})
	return nil
}

// refused returns the audit event of a refusal.
func refused(action string, grant id.ID, reason string) audit.Event {
	return audit.Event{
		Action: action, Target: target(grant), Outcome: audit.Refused, Detail: map[string]any{"reason": reason},
	}
}

// refuseOnce writes the audit event of a refused code or token, the first time in a day. Its holder
// can show it as often as the rate limit lets them, and audit events are kept. No client_id has a
// space, so no assertion of a client passes for such a use.
func refuseOnce(ctx context.Context, tx *db.Tx, hash []byte, e audit.Event) error {
	first, err := UseJTI(ctx, tx, "refused "+e.Action, hex.EncodeToString(hash), tx.Now().Add(replayMemory))
	if err == nil && first {
		audit.Write(tx, e)
	}
	return err
}

// target names a grant by the login of its user.
func target(grant id.ID) audit.Target {
	return audit.ByID("grant", grant, `SELECT `+user.LoginSQL+` FROM grants g
		JOIN users u ON u.tenant_id = $1 AND u.id = g.user_id WHERE g.tenant_id = $1 AND g.id = $2`)
}

// hashOf returns the hash under which a token is stored, or false for text that is not a token of
// this kind and tenant.
func hashOf(tx *db.Tx, token, kind string) ([]byte, bool) {
	t, err := secret.ParseToken(token)
	if err != nil || t.Kind != kind || t.Tenant != tx.Tenant() {
		return nil, false
	}
	return t.Hash, true
}

// listed is a stored list of words.
type listed []string

// Scan implements sql.Scanner.
func (l *listed) Scan(src any) error {
	switch s := src.(type) {
	case string:
		*l = split(s)
	case []byte:
		*l = split(string(s))
	case nil:
		*l = nil
	default:
		return fmt.Errorf("grant: a list of the type %T", src)
	}
	return nil
}

func join(s []string) string  { return strings.Join(s, " ") }
func split(s string) []string { return strings.Fields(s) }
