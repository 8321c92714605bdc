package grant_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

func (w *world) rows(table string) int64 {
	w.t.Helper()
	n, err := db.Read(context.Background(), w.DB, w.c, func(tx *db.Tx) (int64, error) {
		return db.One(context.Background(), tx, func(r db.Row) (int64, error) {
			var n int64
			return n, r.Scan(&n)
		}, `SELECT count(*) FROM `+table+` WHERE tenant_id = $1`)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// A code that is not redeemed leaves neither a grant nor an audit event.
func TestUnredeemedCodesLeaveNothing(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		_, redeemed := w.grant(true)
		if _, o := w.redeem(redeemed, w.app, true); o != grant.Accepted {
			t.Fatal(o)
		}
		for range 100 {
			w.grant(true)
		}
		if n := w.rows("grants"); n > 34 {
			t.Errorf("%d grants of one user after 100 codes, want at most 34", n)
		}
		if n := w.events("grant.create"); n != 1 {
			t.Errorf("%d audit events of grants, want the one that was redeemed", n)
		}
		w.Clock.Advance(grant.CodeLifetime + 11*time.Minute)
		w.grant(true)
		if n := w.rows("grants"); n != 2 {
			t.Errorf("%d grants after the codes ended, want the redeemed one and the new one", n)
		}
		if n := w.rows("authorization_codes"); n != 2 {
			t.Errorf("%d codes are left", n)
		}
	})
}

// A code that gave no token leaves no audit event of a grant. Its grant goes as soon as a replay is
// no longer recognised.
func TestARefusedRedemptionLeavesNoGrant(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		for name, refuse := range map[string]func(code secret.String) grant.Outcome{
			"mismatch": func(code secret.String) grant.Outcome { _, o := w.redeem(code, w.app, false); return o },
			"expired": func(code secret.String) grant.Outcome {
				w.Clock.Advance(grant.CodeLifetime)
				_, o := w.redeem(code, w.app, true)
				return o
			},
			"ruled out": func(code secret.String) grant.Outcome {
				w.ruledOut = true
				defer func() { w.ruledOut = false }()
				_, o := w.redeem(code, w.app, true)
				return o
			},
			"unknown": func(code secret.String) grant.Outcome {
				status := func(to string) {
					w.update(func(ctx context.Context, tx *db.Tx) error {
						_, err := tx.Exec(ctx, `UPDATE users SET status = $2 WHERE tenant_id = $1`, to)
						return err
					})
				}
				status("locked")
				defer status("active")
				_, o := w.redeem(code, w.app, true)
				return o
			},
		} {
			_, code := w.grant(true)
			if o := refuse(code); string(o) != name {
				t.Errorf("%s: %s", name, o)
			}
			if _, o := w.redeem(code, w.app, true); o != grant.Replayed {
				t.Errorf("%s: shown again: %s", name, o)
			}
		}
		if n := w.events("grant.create"); n != 0 {
			t.Errorf("%d audit events of grants that gave nothing", n)
		}
		w.Clock.Advance(25 * time.Hour) // the grants were for 24 hours, and are kept for a day after
		w.purge()
		if n := w.rows("grants"); n != 0 {
			t.Errorf("%d grants are left of 4 refused codes", n)
		}
	})
}

func (w *world) purge() {
	w.update(func(ctx context.Context, tx *db.Tx) error {
		_, err := grant.Purge(ctx, tx)
		return err
	})
}

// A refused code or token is recorded, but not each time that it is shown.
func TestRefusalsAreRecordedOnce(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		other := id.New()
		w.application(other)
		_, code := w.grant(true)
		_, token := w.family(true)
		for range 5 {
			if _, o := w.redeem(code, other, true); o != grant.Unknown {
				t.Errorf("another application's code: %s", o)
			}
			if _, o := w.refresh(token, other, rotate); o != grant.Unknown {
				t.Errorf("another application's token: %s", o)
			}
		}
		if c, r := w.events("code.refuse"), w.events("token.refuse"); c != 1 || r != 1 {
			t.Errorf("%d and %d audit events, want one each", c, r)
		}
	})
}

// Without rotation a refresh token ends when it is not used, not a fixed time after the sign-in.
func TestIdleWithoutRotation(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		keep := grant.Rotation{Keep: true, Lifetime: time.Hour}
		_, token := w.family(true)
		if _, o := w.refresh(token, w.app, keep); o != grant.Accepted {
			t.Fatal(o)
		}
		for range 30 {
			w.Clock.Advance(40 * time.Minute)
			if _, o := w.refresh(token, w.app, keep); o != grant.Accepted {
				t.Fatalf("used every 40 minutes of 60: %s", o)
			}
		}
		w.Clock.Advance(61 * time.Minute)
		if _, o := w.refresh(token, w.app, keep); o != grant.Expired {
			t.Errorf("unused for 61 minutes: %s", o)
		}
		_, token = w.family(true)
		for range 40 { // the grant ends after 24 hours
			w.Clock.Advance(40 * time.Minute)
			w.refresh(token, w.app, keep)
		}
		if _, o := w.refresh(token, w.app, keep); o == grant.Accepted {
			t.Error("a token outlives its grant")
		}
	})
}

// A client whose answer was lost gets the same successor after a failover of the database.
func TestALostAnswerSurvivesAFailover(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		_, token := w.family(true)
		lost, o := w.refresh(token, w.app, rotate)
		if o != grant.Accepted {
			t.Fatal(o)
		}
		w.Clock.Advance(grant.Failover + time.Minute)
		again, o := w.refresh(token, w.app, rotate)
		if o != grant.Accepted || again != lost {
			t.Errorf("after a failover: %s, the same successor: %t", o, again == lost)
		}
	})
}
