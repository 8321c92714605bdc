package logout

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/subject"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/outbound"
)

// The kinds of job. Each end has a noticeJob. A tenant with notices that failed has one retryJob.
const (
	noticeJob = "logout.notify"
	retryJob  = "logout.retry"
)

const (
	tokenLifetime = 2 * time.Minute  // of a logout token, as Back-Channel Logout §2.4 recommends
	perRead       = 20               // notices of one statement
	runTime       = 10 * time.Second // of one job, besides the call that runs
	maxAge        = time.Hour        // of a notice that could not be sent
)

// delays are the times until an application that failed is called again. After the last of them the
// notice is given up.
var delays = []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute,
	30 * time.Minute}

// Deliverer sends notices. All exported fields are required.
type Deliverer struct {
	DB       *db.DB
	Keys     *signingkey.Keys
	Subjects *subject.Keys
	Outbound *outbound.Client
	Clock    clock.Clock
	// Issuer returns the issuer of a tenant for grants that do not name one.
	Issuer func(ctx context.Context, tenant id.ID) (string, error)

	held holds
}

// Jobs registers the handlers of the notices.
func (d *Deliverer) Jobs(runner *job.Runner) {
	runner.HandleAlone(noticeJob, func(ctx context.Context, c caller.Caller) error {
		next, err := d.deliver(ctx, c)
		if err != nil || next.IsZero() {
			return err
		}
		return d.DB.Update(ctx, c, func(tx *db.Tx) error {
			job.EnqueueAlone(tx, retryJob, retryJob, next)
			return nil
		})
	})
	runner.HandleAlone(retryJob, func(ctx context.Context, c caller.Caller) error {
		next, err := d.deliver(ctx, c)
		if err != nil || next.IsZero() {
			return err
		}
		return job.Again(max(0, next.Sub(d.Clock.Now())))
	})
}

// pending is a notice that is due, with its application.
type pending struct {
	session, user id.ID
	issuer        string
	attempts      int64
	created       time.Time
	app           application.Application
}

// over reports whether the notice is given up because it could not be sent for too long.
func (p pending) over(now time.Time) bool { return now.Sub(p.created) >= maxAge }

// answer is how a call of an application ended.
type answer struct {
	result string // "accepted", "refused", "failed", "busy", "waits"
	status int64  // of the answer, 0 for none
	reason string
}

// failed reports whether the application failed. No place for a call says nothing about it.
func (a answer) failed() bool { return a.result == "failed" }

// deliver sends the tenant's due notices. It returns when the next one is due, zero for none.
//
// A user for whom an application fails is held back, and so is an application that fails for
// several users. None of these notices is read until the hold is over, so that they delay no other.
// If there is no place for a call, the next run goes on.
func (d *Deliverer) deliver(ctx context.Context, c caller.Caller) (time.Time, error) {
	began := clock.Machine()
	for {
		due, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) ([]pending, error) {
			return d.due(ctx, tx, d.held.at(c.Tenant, tx.Now()))
		})
		if err != nil {
			return time.Time{}, err
		}
		for _, p := range due {
			if clock.Machine().Sub(began) > runTime {
				return d.Clock.Now(), nil
			}
			a := answer{result: "waits", reason: "The application failed for too long."}
			if !d.held.waits(c.Tenant, p, d.Clock.Now()) {
				a = d.send(ctx, c, p)
				switch now := d.Clock.Now(); {
				case a.result != "busy":
					d.held.record(c.Tenant, p, a, now)
				case !p.over(now):
					return now.Add(delays[0]), nil
				}
			} else if !p.over(d.Clock.Now()) {
				continue
			}
			if err := d.DB.Update(ctx, c, func(tx *db.Tx) error { return p.settle(ctx, tx, a) }); err != nil {
				return time.Time{}, err
			}
		}
		if len(due) < perRead {
			break
		}
	}
	return db.Read(ctx, d.DB, c, func(tx *db.Tx) (time.Time, error) { return d.next(ctx, tx) })
}

// next returns when the next notice is due that is not held back then.
func (d *Deliverer) next(ctx context.Context, tx *db.Tx) (time.Time, error) {
	type first struct {
		of  holdKey // without the user, if it is not held back
		due time.Time
	}
	held := d.held.at(tx.Tenant(), tx.Now())
	apart, args := held.users(nil)
	all, err := db.List(ctx, tx, func(r db.Row) (first, error) {
		f := first{of: holdKey{tenant: tx.Tenant()}}
		var due int64
		err := r.Scan(&f.of.application, &f.of.user, &due)
		f.due = time.UnixMicro(due)
		return f, err
	}, `SELECT application_id, CASE WHEN `+apart+` THEN user_id END, min(due_at) FROM logout_notices
		WHERE tenant_id = $1 GROUP BY 1, 2`, args...)
	var next time.Time
	for _, f := range all {
		if until := held.end(f.of); until.After(f.due) {
			f.due = until
		}
		if next.IsZero() || f.due.Before(next) {
			next = f.due
		}
	}
	return next, err
}

// due returns notices that are due: the first of each application, then the second of each, and so
// on. In an application the users take turns too, and those for whom it failed come last. due skips
// what is held back, but not the notices of more than maxAge.
func (d *Deliverer) due(ctx context.Context, tx *db.Tx, held heldBack) ([]pending, error) {
	type key struct {
		pending
		app id.ID
	}
	args := []any{tx.Now(), perRead, tx.Now().Add(-maxAge)}
	whole, args := held.applications(args)
	users, args := held.users(args)
	last, args := about(held.last, args)
	rows, err := db.List(ctx, tx, func(r db.Row) (key, error) {
		var k key
		err := r.Scan(&k.session, &k.app, &k.user, &k.issuer, &k.attempts, &k.created)
		return k, err
	}, `SELECT session_id, application_id, user_id, issuer, attempts, created_at FROM (
			SELECT session_id, application_id, user_id, issuer, attempts, created_at, due_at,
				row_number() OVER (PARTITION BY application_id ORDER BY failed, of_user, due_at, session_id) AS turn
			FROM (
				SELECT session_id, application_id, user_id, issuer, attempts, created_at, due_at,
					CASE WHEN `+last+` THEN 1 ELSE 0 END AS failed,
					row_number() OVER (PARTITION BY application_id, user_id ORDER BY attempts, due_at, session_id) AS of_user
				FROM logout_notices WHERE tenant_id = $1 AND due_at <= $2
					AND (created_at <= $4 OR NOT (`+whole+` OR `+users+`))) u) n
		ORDER BY turn, due_at LIMIT $3`, args...)
	if err != nil {
		return nil, err
	}
	out := make([]pending, len(rows))
	apps := map[id.ID]application.Application{}
	for i, k := range rows {
		app, known := apps[k.app]
		if !known {
			if app, err = application.Get(ctx, tx, k.app); err != nil {
				return nil, err
			}
			apps[k.app] = app
		}
		out[i] = k.pending
		out[i].app = app
	}
	return out, nil
}

// send calls the application of a notice, once.
func (d *Deliverer) send(ctx context.Context, c caller.Caller, p pending) answer {
	if p.app.Status != application.Active || p.app.BackchannelLogoutURI == "" {
		return answer{result: "refused", reason: "The application is disabled, or has no address any longer."}
	}
	token, err := d.token(ctx, c, p)
	if err != nil {
		return answer{result: "failed", reason: "The logout token cannot be signed."}
	}
	res, err := d.Outbound.Do(ctx, c.Tenant, outbound.Request{URL: p.app.BackchannelLogoutURI,
		ContentType: "application/x-www-form-urlencoded", Body: []byte(url.Values{"logout_token": {token}}.Encode())})
	switch {
	case errors.Is(err, outbound.ErrBusy):
		return answer{result: "busy", reason: err.Error()}
	case err != nil:
		return answer{result: "failed", reason: err.Error()}
	case res.Status == 200, res.Status == 204:
		return answer{result: "accepted", status: int64(res.Status)}
	case res.Status == 400: // Back-Channel Logout §2.8
		return answer{result: "refused", status: 400, reason: "The application refused the logout token, or failed."}
	}
	return answer{result: "failed", status: int64(res.Status),
		reason: fmt.Sprintf("The address answered with status %d instead of 200.", res.Status)}
}

// event is the member of the claim events that makes a token a logout token.
const event = "http://schemas.openid.net/event/backchannel-logout"

// token returns the logout token of a notice (Back-Channel Logout §2.4). It has both sub and sid,
// so that it serves every application.
func (d *Deliverer) token(ctx context.Context, c caller.Caller, p pending) (string, error) {
	issuer := p.issuer
	if issuer == "" {
		var err error
		if issuer, err = d.Issuer(ctx, c.Tenant); err != nil {
			return "", err
		}
	}
	signer, err := d.Keys.IDSigner(ctx, c, &p.app, jose.TypeLogout)
	if err != nil {
		return "", err
	}
	key, err := d.Subjects.For(ctx, c, &p.app)
	if err != nil {
		return "", err
	}
	now := d.Clock.Now()
	return signer.Sign(struct {
		jose.Claims
		Session string              `json:"sid"`
		Events  map[string]struct{} `json:"events"`
	}{
		jose.Claims{Issuer: issuer, Subject: key.Of(p.user), Audience: jose.Audience{p.app.ClientID},
			IssuedAt: jose.At(now), Expiry: jose.At(now.Add(tokenLifetime)), ID: id.New().String()},
		p.session.String(), map[string]struct{}{event: {}},
	})
}

// settle stores how the call of a notice ended. Only the last failure is in the audit log.
func (p pending) settle(ctx context.Context, tx *db.Tx, a answer) error {
	const which = ` WHERE tenant_id = $1 AND session_id = $2 AND application_id = $3`
	if a.result == "failed" && int(p.attempts) < len(delays) {
		_, err := tx.Exec(ctx, `UPDATE logout_notices SET attempts = attempts + 1, due_at = $4`+which,
			p.session, p.app.ID, tx.Now().Add(delays[p.attempts]))
		return err
	}
	n, err := tx.Exec(ctx, `DELETE FROM logout_notices`+which, p.session, p.app.ID)
	if err != nil || n == 0 {
		return err
	}
	outcome, calls := audit.Success, p.attempts+1
	if a.result == "waits" {
		a.result, calls = "failed", p.attempts
	}
	if a.result != "accepted" {
		outcome = audit.Refused
	}
	detail := map[string]any{"channel": "back",
		"session": p.session.String(), "user": p.user.String(), "result": a.result, "attempts": calls}
	if a.status > 0 {
		detail["status"] = a.status
	}
	if a.reason != "" {
		detail["reason"] = a.reason
	}
	audit.Write(tx, audit.Event{Action: "logout.notify", Target: p.app.Target(), Outcome: outcome, Detail: detail})
	return nil
}
