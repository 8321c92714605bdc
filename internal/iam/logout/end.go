package logout

import (
	"context"
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
)

// maxNotices bounds the notices of one end: applications times sessions. The latest sessions count.
// The audit log says how many were left out.
const maxNotices = 500

// End ends a session. It fails with session.ErrNotFound if the session has ended already. reason is
// for the audit log.
func End(ctx context.Context, tx *db.Tx, of id.ID, reason string) error {
	if err := session.Revoke(ctx, tx, of, reason); err != nil {
		return err
	}
	return notice(ctx, tx, `s.id = $2`, of, audit.Target{Kind: "session", ID: of.String()})
}

// EndAll ends every session of a user except one (zero: except none).
func EndAll(ctx context.Context, tx *db.Tx, of, except id.ID, reason string) error {
	n, err := session.RevokeAll(ctx, tx, of, except, reason)
	if err != nil || n == 0 {
		return err
	}
	return notice(ctx, tx, `s.user_id = $2`, of, user.TargetOf(of))
}

// notice writes the notices about the sessions that this transaction has ended, and the job that
// sends them. what is the target of an event about notices that are left out.
func notice(ctx context.Context, tx *db.Tx, which string, of id.ID, what audit.Target) error {
	from := ` FROM ` + grant.OfSessions(which+` AND s.ended_at = $3`) + ` p
		JOIN applications a ON a.tenant_id = $1 AND a.id = p.application_id
		WHERE a.backchannel_logout_uri <> ''
		GROUP BY a.tenant_id, p.session_id, a.id, p.user_id, p.ended_at`
	n, err := tx.Exec(ctx, `INSERT INTO logout_notices
			(tenant_id, session_id, application_id, user_id, issuer, created_at, due_at)
		SELECT a.tenant_id, p.session_id, a.id, p.user_id, max(p.issuer), p.ended_at, p.ended_at`+from+`
		ORDER BY p.session_id DESC LIMIT $4
		ON CONFLICT DO NOTHING`, of, tx.Now(), maxNotices)
	if err != nil || n == 0 {
		return err
	}
	job.EnqueueAlone(tx, noticeJob, "", tx.Now())
	if n < maxNotices {
		return nil
	}
	all, err := db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM (SELECT a.id`+from+`) n`, of, tx.Now())
	if err == nil && all > n {
		audit.Write(tx, audit.Event{Action: "logout.notify", Target: what, Outcome: audit.Refused,
			Detail: map[string]any{"channel": "back", "result": "dropped", "notices": all - n,
				"reason": fmt.Sprintf("One end has at most %d notices. Those of earlier sessions are not sent.",
					maxNotices)}})
	}
	return err
}
