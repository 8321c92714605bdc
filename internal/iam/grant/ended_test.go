package grant_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// decided stores a grant by a copy of the application.
func (w *world) decided(ctx context.Context, tx *db.Tx, app application.Application) (grant.Grant, error) {
	g, _, err := grant.Create(ctx, tx, grant.New{Application: app.ID, User: w.user, Session: w.session,
		Offline: true, Scopes: []string{"openid"}, AuthTime: tx.Now(), Lifetime: 24 * time.Hour,
		ApplicationGeneration: app.Generation})
	return g, err
}

// copyOf reads the application, as a replica's directory does.
func (w *world) copyOf() application.Application {
	w.t.Helper()
	a, err := db.Read(context.Background(), w.DB, w.c, func(tx *db.Tx) (application.Application, error) {
		return application.Get(context.Background(), tx, w.app)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// An application's end takes one row, and covers what a replica gives by an older copy of the
// application. What is given by a newer copy counts.
func TestAnApplicationsEndIsOneRow(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		old := w.copyOf()
		var before grant.Grant
		var own secret.String
		w.update(func(ctx context.Context, tx *db.Tx) error {
			var err error
			if before, err = w.decided(ctx, tx, old); err != nil {
				return err
			}
			own, _ = grant.NewOpaque(tx, grant.Grant{}, &old, nil, []string{issuer}, issuer, time.Hour)
			return grant.Consent(ctx, tx, w.user, w.app, []string{"email"})
		})
		theirs := w.opaque(before)
		if !w.good(own.Reveal()) || !w.good(theirs.Reveal()) {
			t.Fatal("not good to begin with")
		}
		w.update(func(ctx context.Context, tx *db.Tx) error {
			return grant.RevokeOfApplication(ctx, tx, w.app, "test")
		})
		if w.good(own.Reveal()) || w.good(theirs.Reveal()) {
			t.Error("the tokens count")
		}
		var late, new grant.Grant
		var lateOwn, newOwn secret.String
		fresh := w.copyOf()
		w.update(func(ctx context.Context, tx *db.Tx) error {
			var err error
			if late, err = w.decided(ctx, tx, old); err != nil {
				return err
			}
			lateOwn, _ = grant.NewOpaque(tx, grant.Grant{}, &old, nil, []string{issuer}, issuer, time.Hour)
			newOwn, _ = grant.NewOpaque(tx, grant.Grant{}, &fresh, nil, []string{issuer}, issuer, time.Hour)
			new, err = w.decided(ctx, tx, fresh)
			return err
		})
		if w.good(w.opaque(late).Reveal()) || w.good(lateOwn.Reveal()) {
			t.Error("what an older copy of the application gave counts")
		}
		if !w.good(w.opaque(new).Reveal()) || !w.good(newOwn.Reveal()) {
			t.Error("what was given after the end does not count")
		}
		if got := w.consented(); len(got) != 1 {
			t.Errorf("the consent ended too: %q", got)
		}
		w.update(func(ctx context.Context, tx *db.Tx) error {
			return application.NextGeneration(ctx, tx, w.app, application.Consents)
		})
		if got := w.consented(); len(got) != 0 {
			t.Errorf("the consent counts: %q", got)
		}
		w.update(func(ctx context.Context, tx *db.Tx) error {
			return grant.Consent(ctx, tx, w.user, w.app, []string{"profile"})
		})
		if got := w.consented(); len(got) != 1 || got[0] != "profile" {
			t.Errorf("a consent after the end: %q", got)
		}
		if !w.good(newOwn.Reveal()) {
			t.Error("the end of the consents ended a token")
		}
	})
}

func (w *world) consented() []string {
	w.t.Helper()
	got, err := db.Read(context.Background(), w.DB, w.c, func(tx *db.Tx) ([]string, error) {
		return grant.Consented(context.Background(), tx, w.user, w.app)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// An application that lost offline_access has no grant that outlives its session, also none that a
// replica gives by an older copy.
func TestAnApplicationThatLostOfflineAccess(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		old := w.copyOf()
		make := func(by application.Application) grant.Grant {
			var g grant.Grant
			w.update(func(ctx context.Context, tx *db.Tx) error {
				var err error
				g, err = w.decided(ctx, tx, by)
				return err
			})
			return g
		}
		before := make(old)
		w.update(func(ctx context.Context, tx *db.Tx) error {
			return application.NextGeneration(ctx, tx, w.app, application.Offline)
		})
		late, again := make(old), make(w.copyOf()) // again: it has the scope again
		tokens := map[string]secret.String{"before": w.opaque(before), "late": w.opaque(late), "again": w.opaque(again)}
		for name, token := range tokens {
			found, err := w.verifier.Verify(context.Background(), w.c, token.Reveal())
			if err != nil || found.Offline != (name == "again") {
				t.Errorf("%s: offline %t, %v", name, found.Offline, err)
			}
		}
		w.update(func(ctx context.Context, tx *db.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE sessions SET ended_at = $2 WHERE tenant_id = $1`, tx.Now())
			return err
		})
		for name, token := range tokens {
			if w.good(token.Reveal()) != (name == "again") {
				t.Errorf("%s: wrong after its session", name)
			}
		}
	})
}

// Of any number of sign-ins at the moment of an end, none that read the application before it has a
// grant that counts afterwards.
func TestGrantsOfTheMomentOfAnEnd(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		var wg sync.WaitGroup
		some := make(chan struct{}, 16*8)
		for range 16 {
			old := w.copyOf()
			wg.Go(func() {
				for range 8 {
					if err := w.Update(ctx, w.c, func(tx *db.Tx) error {
						_, err := w.decided(ctx, tx, old)
						return err
					}); err != nil {
						t.Error(err)
					}
					some <- struct{}{}
				}
			})
		}
		<-some
		w.update(func(ctx context.Context, tx *db.Tx) error {
			return grant.RevokeOfApplication(ctx, tx, w.app, "test")
		})
		wg.Wait()
		w.update(func(ctx context.Context, tx *db.Tx) error { // as if every code was redeemed
			_, err := tx.Exec(ctx, `DELETE FROM authorization_codes WHERE tenant_id = $1`)
			return err
		})
		held, err := db.Read(ctx, w.DB, w.c, func(tx *db.Tx) ([]grant.Grant, error) {
			return grant.List(ctx, tx, filter.All(), grant.Of{Application: w.app}, page.First())
		})
		if err != nil || len(held) != 0 {
			t.Errorf("%d of %d grants survived: %v", len(held), 16*8, err)
		}
	})
}

// Purge deletes what an application ended, and nothing else. The application is notified of the end
// of the session all the same.
func TestPurgeDeletesWhatAnApplicationEnded(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		old := w.copyOf()
		other := id.New()
		w.application(other)
		w.update(func(ctx context.Context, tx *db.Tx) error {
			for range 3 {
				if _, err := w.decided(ctx, tx, old); err != nil {
					return err
				}
			}
			if _, err := w.decided(ctx, tx, application.Application{ID: other}); err != nil {
				return err
			}
			grant.NewOpaque(tx, grant.Grant{}, &old, nil, nil, issuer, time.Hour)
			if err := grant.Consent(ctx, tx, w.user, w.app, []string{"email"}); err != nil {
				return err
			}
			if err := application.NextGeneration(ctx, tx, w.app, application.Consents); err != nil {
				return err
			}
			return grant.RevokeOfApplication(ctx, tx, w.app, "test")
		})
		fresh := w.copyOf()
		w.update(func(ctx context.Context, tx *db.Tx) error {
			_, err := w.decided(ctx, tx, fresh)
			return err
		})
		w.purge()
		for table, want := range map[string]int64{"grants": 2, "access_tokens": 0, "consents": 0,
			"session_applications": 1} {
			if n := w.rows(table); n != want {
				t.Errorf("%d rows of %s, want %d", n, table, want)
			}
		}
		if _, err := db.Read(context.Background(), w.DB, w.c, func(tx *db.Tx) (application.Ended, error) {
			return application.NextEnded(context.Background(), tx)
		}); err == nil {
			t.Error("the application is purged again and again")
		}
	})
}
