package signin_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var ctx = context.Background()

const browser = "the secret of one browser"

// engine has no policies: the flows of these tests never get so far that they are asked.
var engine = &signin.Engine{}

var ours = signin.Browser{Secret: browser}

func begin(t testing.TB, d *testkit.Database, c caller.Caller) signin.Flow {
	t.Helper()
	age := 90 * time.Second
	s, err := db.Write(ctx, d.DB, c, func(tx *db.Tx) (signin.Standing, error) {
		s, err := engine.Begin(ctx, tx, nil, signin.Demand{
			Kind: signin.Authorize, Application: id.New(), Request: []byte(`{"state":"x"}`),
			ReturnTo:  "/oauth2/authorize/continue",
			LoginHint: "ada", Locales: []string{"de"}, MaxAge: &age, ConsentScopes: []string{"openid"},
		})
		if err != nil {
			return s, err
		}
		return engine.Advance(ctx, tx, s, ours, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.Flow
}

// save stores f with the changes of do.
func save(d *testkit.Database, c caller.Caller, f signin.Flow, do func(f *signin.Flow)) error {
	return d.Update(ctx, c, func(tx *db.Tx) error {
		_, err := engine.Advance(ctx, tx, signin.Standing{Flow: f}, ours,
			func(_ context.Context, _ *db.Tx, s *signin.Standing) (bool, error) {
				do(&s.Flow)
				return true, nil
			})
		return err
	})
}

func load(d *testkit.Database, c caller.Caller, flow id.ID, browser string) (signin.Flow, error) {
	var f signin.Flow
	err := d.View(ctx, c, func(tx *db.Tx) error {
		var err error
		f, err = signin.Load(ctx, tx, flow, browser)
		return err
	})
	return f, err
}

// complete takes f to its end.
func complete(t testing.TB, d *testkit.Database, c caller.Caller, f signin.Flow) {
	t.Helper()
	if err := save(d, c, f, func(f *signin.Flow) { f.User, f.Denied = id.New(), true }); err != nil {
		t.Fatal(err)
	}
}

func finish(d *testkit.Database, c caller.Caller, flow id.ID, browser string) (signin.Flow, error) {
	var f signin.Flow
	err := d.Update(ctx, c, func(tx *db.Tx) error {
		var err error
		f, err = signin.Finish(ctx, tx, flow, browser)
		return err
	})
	return f, err
}

func TestLoad(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, other := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		f := begin(t, d, c)
		got, err := load(d, c, f.ID, browser)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f, got); diff != "" {
			t.Errorf("loaded otherwise than begun: %s", diff)
		}
		gone := func(what string, c caller.Caller, flow id.ID, browser string) {
			t.Helper()
			if _, err := load(d, c, flow, browser); !errors.Is(err, signin.ErrGone) {
				t.Errorf("%s: %v, want ErrGone", what, err)
			}
		}
		gone("another browser", c, f.ID, "another")
		gone("no browser", c, f.ID, "")
		gone("another tenant", other, f.ID, browser)
		gone("another flow", c, id.New(), browser)
		gone("no flow", c, id.ID{}, browser)
		d.Clock.Advance(signin.Lifetime)
		gone("too late", c, f.ID, browser)
	})
}

func TestFinish(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, other := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		f := begin(t, d, c)
		if _, err := finish(d, c, f.ID, browser); !errors.Is(err, signin.ErrNotDone) {
			t.Errorf("a flow that has steps to go: %v, want ErrNotDone", err)
		}
		if err := save(d, c, f, func(f *signin.Flow) { f.User = id.New() }); err != nil { // known, and nothing proved
			t.Fatal(err)
		}
		if _, err := finish(d, c, f.ID, browser); !errors.Is(err, signin.ErrNotDone) {
			t.Errorf("a flow in which nothing was proved: %v, want ErrNotDone", err)
		}
		f, err := load(d, c, f.ID, browser)
		if err != nil {
			t.Fatal(err)
		}
		complete(t, d, c, f)
		for what, try := range map[string]func() (signin.Flow, error){
			"another browser": func() (signin.Flow, error) { return finish(d, c, f.ID, "another") },
			"another tenant":  func() (signin.Flow, error) { return finish(d, other, f.ID, browser) },
		} {
			if _, err := try(); !errors.Is(err, signin.ErrGone) {
				t.Errorf("%s finishes: %v", what, err)
			}
		}
		got, err := finish(d, c, f.ID, browser)
		if err != nil || got.ID != f.ID || got.User.IsZero() || string(got.Request) != `{"state":"x"}` {
			t.Errorf("Finish = %+v, %v", got, err)
		}
		if _, err := finish(d, c, f.ID, browser); !errors.Is(err, signin.ErrGone) {
			t.Errorf("finished twice: %v", err)
		}
		if err := save(d, c, got, func(*signin.Flow) {}); !errors.Is(err, signin.ErrStale) {
			t.Errorf("a finished flow is saved: %v", err)
		}
	})
}

func TestFinishHasOneWinner(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		f := begin(t, d, c)
		complete(t, d, c, f)
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				_, err := finish(d, c, f.ID, browser)
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, signin.ErrGone) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d finished it, want 1", won.Load())
		}
	})
}

func TestSaveHasOneWinner(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		f := begin(t, d, c)
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				err := save(d, c, f, func(f *signin.Flow) { f.User = id.New() })
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, signin.ErrStale) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d steps were saved on one version, want 1", won.Load())
		}
	})
}

func TestOldFlowsArePurged(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, other := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		for range 3 {
			begin(t, d, c)
		}
		begin(t, d, other)
		d.Clock.Advance(signin.Lifetime + time.Second)
		begin(t, d, c)
		for c, want := range map[caller.Caller]int{c: 1, other: 1} {
			if err := d.View(ctx, c, func(tx *db.Tx) error {
				n, err := db.One(ctx, tx, func(r db.Row) (int, error) {
					var n int
					err := r.Scan(&n)
					return n, err
				}, `SELECT count(*) FROM signin_flows WHERE tenant_id = $1`)
				if n != want {
					t.Errorf("%d flows are left, want %d", n, want)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestStoreRefusesAProof(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		f := begin(t, d, c)
		err := d.Update(ctx, c, func(tx *db.Tx) error {
			s := signin.Standing{Flow: f}
			s.Prove(user.User{ID: id.New()}, signin.Password, tx.Now())
			_, err := engine.Store(ctx, tx, s, browser)
			return err
		})
		if err == nil || fault.As(err).Code != "signin.unsettled" { // fault.Of(nil) is Internal
			t.Errorf("a proof was stored without its step: %v", err)
		}
		if now, err := load(d, c, f.ID, browser); err != nil || now.Version != f.Version {
			t.Errorf("version %d, %v; want %d", now.Version, err, f.Version)
		}
	})
}
