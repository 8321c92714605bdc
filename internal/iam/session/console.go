package session

import (
	"context"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// ConsoleCookie is the name of the cookie of a console session for kit/web.
const ConsoleCookie = "console"

// OpenConsole opens the admin console for the browser of a session, and returns the token for the
// ConsoleCookie. A session has one console session: a token from before opens nothing. It fails
// with ErrNone if the session has ended.
//
// The console session is bound to the session's present token. So it ends with the session, and
// also when the session gets another token after a change of credentials.
func OpenConsole(ctx context.Context, tx *db.Tx, on Session) (secret.String, error) {
	opened, err := db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM console_sessions c
		JOIN sessions s ON s.tenant_id = c.tenant_id AND s.id = c.session_id AND s.token_hash = c.session_hash
		WHERE c.tenant_id = $1 AND s.tenant_id = $1 AND c.session_id = $2`, on.ID)
	if err != nil {
		return "", err
	}
	token, hash := secret.NewToken(secret.Console, tx.Tenant())
	n, err := tx.Exec(ctx, `INSERT INTO console_sessions (tenant_id, session_id, token_hash, session_hash, created_at)
		SELECT s.tenant_id, s.id, $3, s.token_hash, $4 FROM sessions s
		WHERE s.tenant_id = $1 AND s.id = $2 AND s.ended_at IS NULL
		ON CONFLICT (tenant_id, session_id) DO UPDATE SET token_hash = excluded.token_hash,
			session_hash = excluded.session_hash, created_at = excluded.created_at`, on.ID, hash, tx.Now())
	switch {
	case err != nil:
		return "", err
	case n == 0:
		return "", ErrNone
	}
	if opened == 0 { // a browser opens it as often as it asks, and audit events are kept
		audit.Write(tx, audit.Event{
			Action: "session.console", Target: target(on.ID, on.UserName), Outcome: audit.Success,
			Detail: map[string]any{"user": on.User.String()},
		})
	}
	return token, nil
}

// FindConsole is Find for the tokens of console sessions.
func FindConsole(ctx context.Context, tx *db.Tx, tokens ...string) (Session, error) {
	return find(ctx, tx, secret.Console, `SELECT `+found+from+`
		JOIN console_sessions c ON c.tenant_id = s.tenant_id AND c.session_id = s.id AND c.session_hash = s.token_hash
		WHERE s.tenant_id = $1 AND c.tenant_id = $1 AND c.token_hash = $2`+usable, tokens)
}

// SetConsoleCookie gives the browser a console session, once that is committed. The cookie lasts
// until the browser is closed. The session's own limits end it earlier.
func SetConsoleCookie(w http.ResponseWriter, r *http.Request, token secret.String) {
	web.SetStrictCookie(w, r, ConsoleCookie, token.Reveal())
}
