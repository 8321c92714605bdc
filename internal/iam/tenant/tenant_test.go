package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var ctx = context.Background()

func platform(t *testing.T, d *testkit.Database) caller.Caller {
	t.Helper()
	p, err := tenant.EnsurePlatform(ctx, d.DB)
	if err != nil {
		t.Fatal(err)
	}
	return caller.Caller{Tenant: p.ID, Actor: caller.Actor{Kind: caller.System, Name: "test"}}
}

func create(d *testkit.Database, c caller.Caller, n tenant.New) (tenant.Tenant, error) {
	return db.SystemWrite(ctx, d.DB, c, "test", func(st *db.SystemTx) (tenant.Tenant, error) {
		return tenant.Create(ctx, st, n)
	})
}

func must(t *testing.T, d *testkit.Database, c caller.Caller, slug string) (tenant.Tenant, caller.Caller) {
	t.Helper()
	x, err := create(d, c, tenant.New{Slug: slug, Name: strings.ToUpper(slug)})
	if err != nil {
		t.Fatal(err)
	}
	c.Tenant = x.ID
	return x, c
}

func newDirectory(d *testkit.Database) *tenant.Directory {
	public, _ := url.Parse("http://id.test:8080")
	return tenant.NewDirectory(d.DB, public, d.Clock, slog.New(slog.DiscardHandler))
}

func TestCreate(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		p := platform(t, d)
		if again := platform(t, d); again.Tenant != p.Tenant {
			t.Error("the platform was made twice")
		}
		acme, c := must(t, d, p, "acme")
		var got tenant.Tenant
		if err := d.View(ctx, c, func(tx *db.Tx) error {
			var err error
			got, err = tenant.Get(ctx, tx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		got.Version = 0
		if diff := cmp.Diff(acme, got); diff != "" {
			t.Error(diff)
		}
		rows, err := d.CountRows(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		for table, n := range rows {
			if n > 0 && table != "audit_events" {
				t.Errorf("a new tenant has %d rows in %s: creating it must not depend on what there is", n, table)
			}
		}
		if _, err := create(d, p, tenant.New{Slug: "acme", Name: "Again"}); !errors.Is(err, tenant.ErrSlugTaken) {
			t.Errorf("the same slug: %v", err)
		}
		for _, slug := range []string{"", "A", "a_b", "-a", "a-", "a.b", "a/b", "é", strings.Repeat("a", 64), "a\x00"} {
			if _, err := create(d, p, tenant.New{Slug: slug, Name: "x"}); fault.Of(err) != fault.Invalid {
				t.Errorf("slug %q: %v", slug, err)
			}
		}
		if _, err := create(d, p, tenant.New{Slug: "_", Name: " "}); len(fault.As(err).Fields) != 2 {
			t.Errorf("not everything was said: %v", err)
		}
	})
}

// Of 16 who want one slug, one gets it.
func TestOneWinnerOfASlug(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		p := platform(t, d)
		var won atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				switch _, err := create(d, p, tenant.New{Slug: "acme", Name: "Acme"}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, tenant.ErrSlugTaken):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d winners", won.Load())
		}
	})
}

func TestUpdate(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		p := platform(t, d)
		_, acme := must(t, d, p, "acme")
		_, globex := must(t, d, p, "globex")
		update := func(c caller.Caller, patch tenant.Patch) (tenant.Tenant, error) {
			return db.Write(ctx, d.DB, c, func(tx *db.Tx) (tenant.Tenant, error) {
				return tenant.Update(ctx, tx, patch)
			})
		}
		name := "Acme Ltd"
		domains := []string{"login.acme.test", "id.acme.test"}
		x, err := update(acme, tenant.Patch{Name: &name, Domains: &domains, Settings: func(s *tenant.Settings) {
			s.MFA, s.SessionIdleSeconds = tenant.MFARequired, 600
		}})
		if err != nil || x.Name != name || x.Settings.MFA != tenant.MFARequired ||
			x.Settings.SessionIdle() != 10*time.Minute ||
			!slices.Equal(x.Domains, []string{"id.acme.test", "login.acme.test"}) {
			t.Errorf("%+v %v", x, err)
		}
		if _, err := update(globex, tenant.Patch{Name: &name, Domains: &domains}); !errors.Is(err,
			tenant.ErrDomainTaken) {
			t.Errorf("another tenant's domain: %v", err)
		}
		domains = []string{"login.acme.test"}
		if _, err := update(acme, tenant.Patch{Domains: &domains}); err != nil {
			t.Error(err)
		}
		given := []string{"id.acme.test"}
		if x, err := update(globex, tenant.Patch{Domains: &given}); err != nil || x.Name != "GLOBEX" {
			t.Errorf("a domain that was given up, after a refused change: %+v %v", x, err)
		}
		bad := []string{"Acme.test", "acme", "10.0.0.1", "a..b", "a.test", "a.test"}
		_, err = update(acme, tenant.Patch{Domains: &bad,
			Settings: func(s *tenant.Settings) { s.Accent, s.PasswordMinLength = "red", 3 }})
		if f := fault.As(err); f.Kind != fault.Invalid || len(f.Fields) != 7 {
			t.Errorf("%v", err)
		}
	})
}

func TestListPages(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		p := platform(t, d)
		for i := range 4 {
			must(t, d, p, fmt.Sprint("t", i))
		}
		var slugs []string
		r := page.Request{Limit: 2}
		for range 3 {
			var l page.List[tenant.Tenant]
			if err := d.SystemView(ctx, p, "test", func(st *db.SystemTx) error {
				var err error
				l, err = tenant.List(ctx, st, tenant.Filter{}, r)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			for _, x := range l.Items {
				slugs = append(slugs, x.Slug)
			}
			r.After, _ = page.ParseCursor(l.NextCursor)
		}
		if diff := cmp.Diff([]string{"platform", "t0", "t1", "t2", "t3"}, slugs); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDirectory(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		p := platform(t, d)
		here, there := newDirectory(d), newDirectory(d)
		_ = there
		if _, err := here.BySlug(ctx, "acme"); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("before it was made: %v", err)
		}
		x, acme := must(t, d, p, "acme")
		s, err := here.BySlug(ctx, "acme")
		if err != nil || s.Tenant != x.ID || s.Base != "http://id.test:8080/t/acme" || s.Path != "/t/acme" {
			t.Errorf("right after it was made: %+v %v", s, err)
		}
		for _, issuer := range []string{"http://id.test:8080/t/acme", "https://id.test:8080/t/acme", "http://id.test/t/acme", "http://login.acme.test:8080", "http://id.test:8080", "", "http://"} {
			s, err := here.ByIssuer(ctx, issuer)
			if issuer == "http://id.test:8080/t/acme" {
				if err != nil || s.Base != issuer {
					t.Errorf("%s: %+v %v", issuer, s, err)
				}
			} else if !errors.Is(err, tenant.ErrNotFound) {
				t.Errorf("%q: %+v %v", issuer, s, err)
			}
		}
		if _, err := here.ByDomain(ctx, "login.acme.test"); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("%v", err)
		}
		domains := []string{"login.acme.test"}
		if err := d.Update(ctx, acme,
			func(tx *db.Tx) error {
				_, err := tenant.Update(ctx, tx, tenant.Patch{Domains: &domains})
				return err
			}); err != nil {
			t.Fatal(err)
		}
		if s, err = here.ByDomain(ctx, "login.acme.test"); err != nil || s.Base != "http://login.acme.test:8080" || s.Path != "" {
			t.Errorf("%+v %v", s, err)
		}
		if again, err := here.ByIssuer(ctx, s.Base); err != nil || again != s {
			t.Errorf("by its domain's issuer: %+v %v", again, err)
		}
		set := func(st tenant.Status) {
			t.Helper()
			if err := d.Update(ctx, acme,
				func(tx *db.Tx) error { _, err := tenant.SetStatus(ctx, tx, st); return err }); err != nil {
				t.Fatal(err)
			}
		}
		set(tenant.Suspended)
		for what, err := range map[string]error{"slug": second(here.BySlug(ctx, "acme")),
			"domain": second(here.ByDomain(ctx, "login.acme.test")),
			"issuer": second(here.ByIssuer(ctx, "http://id.test:8080/t/acme")), "id": second(here.Active(ctx, x.ID))} {
			if !errors.Is(err, tenant.ErrSuspended) {
				t.Errorf("suspended, by %s: %v", what, err)
			}
		}
		set(tenant.Active)
		domains = nil
		if err := d.Update(ctx, acme,
			func(tx *db.Tx) error {
				_, err := tenant.Update(ctx, tx, tenant.Patch{Domains: &domains})
				return err
			}); err != nil {
			t.Fatal(err)
		}
		if _, err := here.ByDomain(ctx, "login.acme.test"); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("a domain that was given up: %v", err)
		}
		if err := d.Update(ctx, p,
			func(tx *db.Tx) error {
				_, err := tenant.SetStatus(ctx, tx, tenant.Suspended)
				return err
			}); !errors.Is(err, tenant.ErrPlatform) {
			t.Errorf("suspending the platform: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// A replica whose poll hangs does not trust its copies for ever, and does not call itself ready.
func TestDirectoryWhosePollHangs(t *testing.T) {
	testkit.BothDSN(t, func(t *testing.T, at string) {
		one, two := testkit.Open(t, at), testkit.Open(t, at)
		_, acme := must(t, one, platform(t, one), "acme")
		clk := &clock.Fake{}
		public, _ := url.Parse("http://id.test")
		dir := tenant.NewDirectory(two.DB, public, clk, slog.New(slog.DiscardHandler))
		if err := dir.PollOnce(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := dir.BySlug(ctx, "acme"); err != nil {
			t.Fatal(err)
		}
		set := func(to tenant.Status) {
			t.Helper()
			if err := one.Update(ctx, acme, func(tx *db.Tx) error {
				return second(tenant.SetStatus(ctx, tx, to))
			}); err != nil {
				t.Fatal(err)
			}
		}
		set(tenant.Suspended)
		if err := dir.Ready(ctx); err != nil {
			t.Error(err)
		}
		clk.Advance(6 * time.Second) // and no poll ends
		if _, err := dir.BySlug(ctx, "acme"); !errors.Is(err, tenant.ErrSuspended) {
			t.Errorf("a suspended tenant: %v", err)
		}
		if dir.Ready(ctx) == nil {
			t.Error("a replica that hears of nothing calls itself ready")
		}
		set(tenant.Active)
		clk.Advance(2 * time.Second)
		if _, err := dir.BySlug(ctx, "acme"); err != nil {
			t.Errorf("resumed: %v", err)
		}
	})
}

// Another replica has a database handle of its own: it learns of changes by polling only.
func TestDirectoryOfAnotherReplica(t *testing.T) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": testkit.SQLite, "postgres": testkit.Postgres} {
		t.Run(name, func(t *testing.T) {
			at := dsn(t)
			one, two := testkit.Open(t, at), testkit.Open(t, at)
			p := platform(t, one)
			_, acme := must(t, one, p, "acme")
			clk := &clock.Fake{}
			public, _ := url.Parse("http://id.test")
			dir := tenant.NewDirectory(two.DB, public, clk, slog.New(slog.DiscardHandler))
			var told []id.ID
			dir.Watch(func(i id.ID) { told = append(told, i) })
			poll := func() {
				t.Helper()
				if err := dir.PollOnce(ctx); err != nil {
					t.Fatal(err)
				}
			}
			poll()
			told = nil
			if _, err := dir.BySlug(ctx, "acme"); err != nil {
				t.Fatal(err)
			}
			if _, err := dir.BySlug(ctx, "globex"); !errors.Is(err, tenant.ErrNotFound) {
				t.Fatal(err)
			}
			poll()
			if len(told) != 0 {
				t.Errorf("told of %v though nothing changed", told)
			}
			if err := one.Update(ctx, acme,
				func(tx *db.Tx) error {
					_, err := tenant.SetStatus(ctx, tx, tenant.Suspended)
					return err
				}); err != nil {
				t.Fatal(err)
			}
			must(t, one, p, "globex")
			poll()
			if _, err := dir.BySlug(ctx, "acme"); !errors.Is(err, tenant.ErrSuspended) {
				t.Errorf("after polling: %v", err)
			}
			if _, err := dir.BySlug(ctx, "globex"); err != nil {
				t.Errorf("after polling: %v", err)
			}
			if len(told) != 2 || !slices.Contains(told, acme.Tenant) {
				t.Errorf("told of %v", told)
			}
			told = nil
			clk.Advance(time.Minute) // could not poll for long
			poll()
			if !slices.Contains(told, id.ID{}) {
				t.Errorf("after a gap, told of %v only", told)
			}
		})
	}
}

// A deleted tenant leaves no row in any table of the schema. The database itself refuses to delete
// the tenant's row before the others.
func TestDeleteLeavesNothing(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		p := platform(t, d)
		x, acme := must(t, d, p, "acme")
		_, globex := must(t, d, p, "globex")
		ring, err := secret.ParseKeyRing(secret.NewKey("k1"))
		if err != nil {
			t.Fatal(err)
		}
		q := job.NewQueue(ring)
		domains := []string{"login.acme.test"}
		for _, c := range []caller.Caller{acme, globex} {
			fill(t, d, q, c)
		}
		if err := d.Update(ctx, acme,
			func(tx *db.Tx) error {
				_, err := tenant.Update(ctx, tx, tenant.Patch{Domains: &domains})
				return err
			}); err != nil {
			t.Fatal(err)
		}
		neighbour, err := d.CountRows(ctx, globex)
		if err != nil {
			t.Fatal(err)
		}
		del := func(victim id.ID) error {
			return d.System(ctx, p, "test",
				func(st *db.SystemTx) error { _, err := tenant.Delete(ctx, st, q, p.Tenant, victim); return err })
		}
		e := &tenant.Eraser{DB: d.DB, Clock: d.Clock}
		payload := fmt.Appendf(nil, `{"tenant":%q,"slug":"acme"}`, x.ID)
		if err := e.Run(ctx, p, payload); err != nil {
			t.Fatal(err)
		}
		if rows, _ := d.CountRows(ctx, acme); rows["jobs"] == 0 {
			t.Fatal("rows went before the tenant was marked")
		}
		if err := del(x.ID); err != nil {
			t.Fatal(err)
		}
		if err := del(x.ID); !errors.Is(err, tenant.ErrDeleting) {
			t.Errorf("twice: %v", err)
		}
		if err := del(p.Tenant); !errors.Is(err, tenant.ErrPlatform) {
			t.Errorf("the platform: %v", err)
		}
		if _, err := newDirectory(d).BySlug(ctx, "acme"); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("while it is being deleted: %v", err)
		}
		// The positive control: with rows left, the database keeps the tenant.
		err = d.System(ctx, p, "test", func(st *db.SystemTx) error {
			_, err := st.Exec(ctx, `DELETE FROM tenants WHERE id = $1`, x.ID)
			return err
		})
		if !db.IsForeignKey(err) {
			t.Fatalf("the tenant's row went although others were left: %v", err)
		}

		runner := job.NewRunner(d.DB, q, d.Clock, slog.New(slog.DiscardHandler))
		runner.Handle(tenant.DeleteJob, e.Run)
		d.Clock.Advance(time.Minute)
		for runner.Work(ctx) {
		}
		rows, err := d.CountRows(ctx, acme)
		if err != nil {
			t.Fatal(err)
		}
		for table, n := range rows {
			if n != 0 {
				t.Errorf("%d rows left in %s", n, table)
			}
		}
		if err := d.SystemView(ctx, p, "test", func(st *db.SystemTx) error {
			for _, q := range []string{`SELECT count(*) FROM tenants WHERE id = $1`,
				`SELECT count(*) FROM tenant_domains WHERE tenant_id = $1`,
				`SELECT count(*) FROM job_tenants WHERE tenant_id = $1`} {
				n, err := db.SystemOne(ctx, st, db.Column[int64], q, x.ID)
				if err != nil || n != 0 {
					t.Errorf("%s: %d %v", q, n, err)
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if after, err := d.CountRows(ctx, globex); err != nil || cmp.Diff(neighbour, after) != "" {
			t.Errorf("the neighbour lost something: %s %v", cmp.Diff(neighbour, after), err)
		}
		if err := d.View(ctx, p, func(tx *db.Tx) error {
			l, err := audit.List(ctx, tx, audit.Filter{Action: "tenant.delete"}, page.First())
			if len(l.Items) != 2 {
				t.Errorf("the platform's log has %d events of the deletion", len(l.Items))
			}
			return err
		}); err != nil {
			t.Error(err)
		}
		if _, err := create(d, p, tenant.New{Slug: "acme", Name: "Again"}); !errors.Is(err, tenant.ErrNameRetired) {
			t.Errorf("the slug is free again: %v", err)
		}
	})
}

// fill writes at least one row into tenant tables that reference each other.
func fill(t *testing.T, d *testkit.Database, q *job.Queue, c caller.Caller) {
	t.Helper()
	user, app := id.New(), id.New()
	err := d.Update(ctx, c, func(tx *db.Tx) error {
		audit.Write(tx, audit.Event{Action: "user.create"})
		tx.Later(
			`INSERT INTO users (tenant_id, id, username, username_key, status, created_at, updated_at)
				VALUES ($1, $2, $3, $3, $4, $5, $5)`, user, "alice", "active", tx.Now())
		tx.Later(`INSERT INTO passwords (tenant_id, user_id, hash, changed_at) VALUES ($1, $2, $3, $4)`, user, "x",
			tx.Now())
		tx.Later(
			`INSERT INTO applications (tenant_id, id, client_id, name, type, status, auth_method, access_token, id_token_alg,
			access_token_lifetime, id_token_lifetime, refresh_token_idle, refresh_token_max, created_at, updated_at)
			VALUES ($1, $2, $3, $3, 'web', 'active', 'none', 'jwt', 'ES256', 1, 1, 1, 1, $4, $4)`, app, "app", tx.Now())
		tx.Later(
			`INSERT INTO role_grants (tenant_id, subject_id, role, application_id, granted_at)
				VALUES ($1, $2, $3, $2, $4)`, app, "owner", tx.Now())
		for range 1200 { // more than two batches
			tx.Later(
				`INSERT INTO attempt_counters (tenant_id, subject, failures, last_at, expires_at)
					VALUES ($1, $2, 1, $3, $3)`, id.New().String(), tx.Now())
		}
		return q.Enqueue(tx, job.New{Kind: "other", Due: tx.Now().Add(365 * 24 * time.Hour)})
	})
	if err != nil {
		t.Fatal(err)
	}
}
