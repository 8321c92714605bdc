package signin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// swapped returns another character than c.
func swapped(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// A browser carries its flow until something is stored. Then only the row counts.
func TestCarriedFlow(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ring, err := secret.ParseKeyRing(secret.NewKey("test"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, acme, e := t.Context(), d.Tenant(t, "acme"), &signin.Engine{Sealer: ring,
			Large: signin.NewLargeLimiter(d.Clock)}
		begin := func(request string) (signin.Standing, string, error) {
			t.Helper()
			s, err := db.Read(ctx, d.DB, acme, func(tx *db.Tx) (signin.Standing, error) {
				return e.Begin(ctx, tx, nil, signin.Demand{Kind: signin.Authorize, Request: []byte(request),
					ReturnTo: "/oauth2/authorize/continue", LoginHint: "ada@example.com"})
			})
			if err != nil {
				t.Fatal(err)
			}
			text, err := e.CarryOrStore(ctx, d.DB, acme, s, browser)
			return s, text, err
		}
		load := func(s signin.Standing, b signin.Browser) (signin.Flow, error) {
			return db.Read(ctx, d.DB, acme, func(tx *db.Tx) (signin.Flow, error) {
				return e.Load(ctx, tx, s.Flow.ID, b)
			})
		}
		s, text, err := begin(`{"state":"some"}`)
		if err != nil || len(text) > signin.MaxCarried {
			t.Fatalf("%d bytes: %v", len(text), err)
		}
		mine := signin.Browser{Secret: browser, Carried: []string{text}}
		f, err := load(s, mine)
		if err != nil || string(f.Request) != `{"state":"some"}` || f.LoginHint != "ada@example.com" ||
			f.Version != 0 || !f.ExpiresAt.Equal(s.Flow.ExpiresAt) {
			t.Errorf("%+v: %v", f, err)
		}
		other, _, _ := begin("")
		for name, tc := range map[string]struct {
			of signin.Standing
			b  signin.Browser
		}{
			"another browser": {s, signin.Browser{Secret: "another", Carried: []string{text}}},
			"changed": {s, signin.Browser{Secret: browser,
				Carried: []string{text[:40] + swapped(text[40]) + text[41:]}}},
			"cut":             {s, signin.Browser{Secret: browser, Carried: []string{text[:len(text)-8]}}},
			"of another flow": {other, mine},
			"nothing":         {s, signin.Browser{Secret: browser}},
		} {
			if _, err := load(tc.of, tc.b); !errors.Is(err, signin.ErrGone) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, text, err := begin(strings.Repeat("0123456789abcdefghij-_", 200)); err != nil || text == "" {
			t.Errorf("a request that packs well: %d bytes, %v", len(text), err)
		}
		random, _ := secret.NewToken("xx", acme.Tenant)
		for len(random) < 4000 {
			more, _ := secret.NewToken("xx", acme.Tenant)
			random += more
		}
		for i := range 25 {
			large, text, err := begin(random.Reveal())
			if i >= 20 {
				if fault.Of(err) != fault.Limited {
					t.Errorf("the large request %d of one address: %v", i+1, err)
				}
				continue
			}
			if f, err := load(large, mine); err != nil || text != "" || f.Version != 1 {
				t.Errorf("a request that does not: version %d, %d bytes, %v", f.Version, len(text), err)
			}
			large.Flow.Version, large.Flow.Declined = 1, true
			if _, err := e.CarryOrStore(ctx, d.DB, acme, large, browser); err != nil {
				t.Errorf("a flow that is stored already: %v", err)
			}
		}
		// Of tabs that store it at once, one wins.
		s.Flow.Version = 0
		saved := make([]error, 16)
		d.Race(t, len(saved), func(i int) {
			saved[i] = d.Update(ctx, acme, func(tx *db.Tx) error {
				_, err := e.Store(context.Background(), tx, s, browser)
				return err
			})
		})
		won := 0
		for _, err := range saved {
			if err == nil {
				won++
			} else if !errors.Is(err, signin.ErrStale) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d tabs stored the flow, want 1", won)
		}
		if f, err := load(s, mine); err != nil || f.Version != 1 {
			t.Errorf("once it is stored: version %d, %v", f.Version, err)
		}
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE signin_flows SET finished_at = $3 WHERE tenant_id = $1 AND id = $2`,
				s.Flow.ID, tx.Now())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := load(s, mine); !errors.Is(err, signin.ErrGone) {
			t.Errorf("a finished flow comes back from its browser: %v", err)
		}
		late, text, _ := begin("")
		d.Clock.Advance(signin.Lifetime)
		mine.Carried = []string{text}
		if _, err := load(late, mine); !errors.Is(err, signin.ErrGone) {
			t.Errorf("an hour later: %v", err)
		}
	})
}
