package db_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

const insertJob = `INSERT INTO jobs (tenant_id, id, kind, dedup_key, payload, due_at, created_at)
	VALUES ($1, $2, $3, $4, $5, $6, $6)`

type job struct {
	ID   id.ID
	Kind string
	Due  time.Time
}

func scanJob(r db.Row) (job, error) {
	var j job
	err := r.Scan(&j.ID, &j.Kind, &j.Due)
	return j, err
}

func TestReadsBackWhatWasWritten(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		jid := id.New()
		err := d.Update(ctx, acme, func(tx *db.Tx) error {
			tx.Later(insertJob, jid, "later", "k", []byte("p"), tx.Now())
			one, none := int64(-1), int64(-1)
			tx.LaterCount(&none, `UPDATE jobs SET attempts = 1 WHERE tenant_id = $1 AND id = $2`, id.New())
			tx.LaterCount(&one, `UPDATE jobs SET attempts = 1 WHERE tenant_id = $1 AND id = $2`, jid)
			n, err := tx.Exec(ctx, insertJob, id.New(), "now", "k", []byte("p"), tx.Now())
			if n != 1 || one != 1 || none != 0 {
				t.Errorf("rows = %d, deferred %d and %d, want 1, 1 and 0", n, one, none)
			}
			// In an order of their own, with one said twice and one that follows the largest.
			tx.Later(
				`UPDATE jobs SET kind = $2 || $2, attempts = $3 WHERE tenant_id = $1 AND id = $4 AND dedup_key = $5`,
				"later", 7, jid, "k")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var got job
		err = d.View(ctx, acme, func(tx *db.Tx) error {
			var err error
			got, err = db.One(ctx, tx, scanJob,
				`SELECT id, kind, due_at FROM jobs WHERE tenant_id = $1 AND id = $2 AND attempts = 7
					AND failed_at IS NULL`, jid)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != jid || got.Kind != "laterlater" || !got.Due.Equal(d.Clock.Now()) {
			t.Errorf("got %+v", got)
		}
		err = d.Update(ctx, acme, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, insertJob, id.New(), "now", "k", []byte("p"), tx.Now())
			return err
		})
		if !db.IsConflict(err, "jobs", "dedup_key") {
			t.Errorf("duplicate key: err = %v, want a conflict on jobs__dedup_key", err)
		}
	})
}

// A deferred read sees what the transaction wrote before it. In a View and in an Update it has its
// rows when they return, or after the next statement.
func TestDeferredReads(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		const byKind = `SELECT id, kind, due_at FROM jobs WHERE tenant_id = $1 AND kind = $2 LIMIT 10`
		var atCommit, between []job
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			tx.Later(insertJob, id.New(), "a", "k", []byte("p"), tx.Now())
			db.LaterList(tx, scanJob, &between, byKind, "a")
			if _, err := tx.Exec(ctx, insertJob, id.New(), "b", "l", []byte("p"), tx.Now()); err != nil {
				return err
			}
			if len(between) != 1 {
				t.Errorf("after the next statement: %v", between)
			}
			db.LaterList(tx, scanJob, &atCommit, byKind, "b")
			return nil
		}); err != nil || len(atCommit) != 1 || atCommit[0].Kind != "b" {
			t.Errorf("after the commit: %v %v", atCommit, err)
		}
		var first, second, third []job
		if err := d.View(ctx, acme, func(tx *db.Tx) error {
			db.LaterList(tx, scanJob, &first, byKind, "a")
			got, err := db.List(ctx, tx, scanJob, byKind, "b")
			if err != nil || len(got) != 1 || len(first) != 1 {
				t.Errorf("with the next statement: %v %v %v", first, got, err)
			}
			db.LaterList(tx, scanJob, &second, byKind, "none")
			db.LaterList(tx, scanJob, &third, byKind, "b")
			return nil
		}); err != nil || second == nil || len(second) != 0 || len(third) != 1 {
			t.Errorf("after the view: %v %v %v", second, third, err)
		}
		scanErr := errors.New("cannot be scanned")
		refuse := func(db.Row) (job, error) { return job{}, scanErr }
		for name, run := range map[string]func(context.Context, caller.Caller, func(tx *db.Tx) error) error{
			"View": d.View, "Update": d.Update} {
			if err := run(ctx, acme, func(tx *db.Tx) error {
				db.LaterList(tx, refuse, &first, byKind, "a")
				return nil
			}); !errors.Is(err, scanErr) {
				t.Errorf("%s: %v", name, err)
			}
			if err := run(ctx, acme, func(tx *db.Tx) error {
				db.LaterList(tx, scanJob, &first, `SELECT id, kind, due_at FROM jobs LIMIT 1`)
				return nil
			}); !errors.Is(err, db.ErrTenancy) {
				t.Errorf("%s without the tenant: %v", name, err)
			}
		}
	})
}

func TestFailureRollsBackEverything(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		boom := errors.New("boom")
		count := func() int64 {
			var n int64
			_ = d.View(ctx, acme, func(tx *db.Tx) error {
				var err error
				n, err = db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM jobs WHERE tenant_id = $1`)
				return err
			})
			return n
		}
		for name, fn := range map[string]func(tx *db.Tx) error{
			"error after exec": func(tx *db.Tx) error {
				_, _ = tx.Exec(ctx, insertJob, id.New(), "a", nil, []byte{}, tx.Now())
				return boom
			},
			"error after later": func(tx *db.Tx) error {
				tx.Later(insertJob, id.New(), "a", nil, []byte{}, tx.Now())
				return boom
			},
			"later that fails": func(tx *db.Tx) error {
				i := id.New()
				tx.Later(insertJob, i, "a", nil, []byte{}, tx.Now())
				tx.Later(insertJob, i, "a", nil, []byte{}, tx.Now())
				return nil
			},
			"later that is refused": func(tx *db.Tx) error {
				tx.Later(`DELETE FROM jobs WHERE id = $2 OR $1 IS NULL`, id.New())
				_, err := tx.Exec(ctx, insertJob, id.New(), "a", nil, []byte{}, tx.Now())
				return err
			},
		} {
			if err := d.Update(ctx, acme, fn); err == nil {
				t.Errorf("%s: no error", name)
			}
			if n := count(); n != 0 {
				t.Errorf("%s: %d rows left", name, n)
			}
		}
		func() {
			defer func() { _ = recover() }()
			_ = d.Update(ctx, acme, func(tx *db.Tx) error {
				_, _ = tx.Exec(ctx, insertJob, id.New(), "a", nil, []byte{}, tx.Now())
				panic("boom")
			})
		}()
		if n := count(); n != 0 {
			t.Errorf("panic: %d rows left", n)
		}
	})
}

// Lock two: a statement that does not say whose rows it wants is not sent.
func TestStatementsWithoutTheirTenantAreRefused(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		for _, sql := range []string{
			`SELECT id FROM jobs`,
			`SELECT id FROM jobs WHERE tenant_id <> $1`,
			`SELECT id FROM jobs WHERE tenant_id = $2 AND $1 IS NOT NULL`,
			`SELECT id FROM jobs -- WHERE tenant_id = $1`,
			`DELETE FROM jobs WHERE kind = $2`,
			`INSERT INTO jobs (id, tenant_id) VALUES ($2, $1)`,
			`INSERT INTO jobs (tenant_id, id) VALUES ($2, $3)`,
			`INSERT INTO jobs (tenant_id, id) VALUES ($1, $2), ($3, $4)`,
			`SELECT 1; SELECT id FROM jobs WHERE tenant_id = $1`,
			`SELECT slug FROM tenants`,
		} {
			err := d.Update(ctx, acme, func(tx *db.Tx) error {
				_, err := tx.Exec(ctx, sql, id.New())
				return err
			})
			if !errors.Is(err, db.ErrTenancy) {
				t.Errorf("%s: err = %v, want ErrTenancy", sql, err)
			}
		}
		err := d.System(ctx, acme, "test", func(st *db.SystemTx) error {
			_, err := st.Exec(ctx, `DELETE FROM jobs WHERE tenant_id = $1`, acme.Tenant)
			return err
		})
		if !errors.Is(err, db.ErrTenancy) {
			t.Errorf("System on a tenant table: err = %v, want ErrTenancy", err)
		}
		if err := d.View(ctx, caller.Caller{}, func(*db.Tx) error { return nil }); !errors.Is(err, db.ErrTenancy) {
			t.Errorf("no tenant: err = %v, want ErrTenancy", err)
		}
	})
}

// A plan says tenant_id=? for any parameter. A statement that names the bound tenant in one place
// and another tenant in the next one is refused by its text, on both databases.
func TestAStatementComparesWithTheBoundTenantOnly(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		if err := d.Update(ctx, globex, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, insertJob, id.New(), "k", nil, []byte{}, tx.Now())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		const own = ` AND EXISTS (SELECT 1 FROM tenants t WHERE t.id = $1)`
		for _, sql := range []string{
			`SELECT id, kind, due_at FROM jobs WHERE tenant_id = $2` + own,
			`SELECT id, kind, due_at FROM jobs WHERE tenant_id IN ($1, $2)`,
			`SELECT id, kind, due_at FROM jobs WHERE tenant_id = $1 OR tenant_id = $2`,
			`SELECT id, kind, due_at FROM jobs WHERE tenant_id = $1 UNION ALL
				SELECT id, kind, due_at FROM jobs WHERE tenant_id = $2`,
			`SELECT j.id, j.kind, j.due_at FROM jobs j LEFT JOIN jobs o ON o.tenant_id = $1 WHERE j.tenant_id = $2`,
			`SELECT id, kind, due_at FROM jobs WHERE $2 = tenant_id OR tenant_id = $1`,
			`SELECT id, kind, due_at FROM jobs WHERE tenant_id = coalesce($2, $1) OR tenant_id = $1`,
			`SELECT id, kind, due_at FROM jobs WHERE tenant_id = $1 OR (tenant_id, kind) = ($2, 'k')`,
			`SELECT id, kind, due_at FROM (SELECT tenant_id AS t, id, kind, due_at FROM jobs) j WHERE t = $2
				UNION ALL SELECT id, kind, due_at FROM jobs WHERE tenant_id = $1`,
		} {
			err := d.View(ctx, acme, func(tx *db.Tx) error {
				rows, err := db.List(ctx, tx, scanJob, sql, globex.Tenant)
				if len(rows) > 0 {
					t.Errorf("%s: read another tenant's row", sql)
				}
				return err
			})
			if !errors.Is(err, db.ErrTenancy) {
				t.Errorf("%s: err = %v", sql, err)
			}
		}
	})
}

// Lock four: what the text lock lets pass, the database still refuses. These
// statements name the tenant and then reach around it.
func TestTheDatabaseRefusesToReachAround(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		for _, c := range []caller.Caller{acme, globex} {
			if err := d.Update(ctx, c, func(tx *db.Tx) error {
				_, err := tx.Exec(ctx, insertJob, id.New(), "k", nil, []byte{}, tx.Now())
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		for _, sql := range []string{
			`SELECT id, kind, due_at FROM jobs WHERE tenant_id = $1 OR 1 = 1`,
			`SELECT id, kind, due_at FROM jobs WHERE tenant_id = $1 UNION ALL SELECT id, kind, due_at FROM jobs`,
			`SELECT j.id, j.kind, j.due_at FROM jobs j JOIN jobs o ON o.tenant_id = $1`,
		} {
			var rows []job
			err := d.View(ctx, acme, func(tx *db.Tx) error {
				var err error
				rows, err = db.List(ctx, tx, scanJob, sql)
				return err
			})
			if d.Name() == "sqlite" {
				if !errors.Is(err, db.ErrTenancy) {
					t.Errorf("%s: err = %v, want the plan refused", sql, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", sql, err)
			}
			for _, j := range rows {
				if n := countFor(t, d, acme, j.ID); n != 1 {
					t.Errorf("%s: row %s of another tenant came through", sql, j.ID)
				}
			}
		}
		// a row whose tenant is taken from an argument instead of the bind
		err := d.Update(ctx, acme, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE jobs SET tenant_id = $2 WHERE tenant_id = $1`, globex.Tenant)
			return err
		})
		if err == nil {
			t.Error("a row was given to another tenant")
		}
	})
}

func countFor(t *testing.T, d *testkit.Database, c caller.Caller, i id.ID) int64 {
	var n int64
	t.Helper()
	err := d.View(context.Background(), c, func(tx *db.Tx) error {
		var err error
		n, err = db.One(context.Background(), tx, db.Column[int64],
			`SELECT count(*) FROM jobs WHERE tenant_id = $1 AND id = $2`, i)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// AtEnd runs its function once, however the transaction ends. AfterCommit wants an end without an
// error.
func TestWhatRunsAtTheEnd(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		system := func(run func(context.Context, caller.Caller, string, func(*db.SystemTx) error) error,
		) func(context.Context, caller.Caller, func(*db.Tx) error) error {
			return func(ctx context.Context, c caller.Caller, fn func(*db.Tx) error) error {
				return run(ctx, c, "test", func(st *db.SystemTx) error { return fn(st.For(c.Tenant)) })
			}
		}
		for name, run := range map[string]func(context.Context, caller.Caller, func(*db.Tx) error) error{
			"View": d.View, "Update": d.Update, "System": system(d.System), "SystemView": system(d.SystemView),
		} {
			for _, fails := range []error{nil, errors.New("boom")} {
				ended, committed, want := 0, 0, 1
				if fails != nil {
					want = 0
				}
				err := run(t.Context(), acme, func(tx *db.Tx) error {
					tx.AtEnd(func() { ended++ })
					tx.AfterCommit(func() { committed++ })
					if ended+committed > 0 {
						t.Errorf("%s: too early", name)
					}
					return fails
				})
				if !errors.Is(err, fails) || ended != 1 || committed != want {
					t.Errorf("%s with %v: ended %d, committed %d: %v", name, fails, ended, committed, err)
				}
			}
		}
	})
}

// What AtCommit defers comes after everything else, once, and not at all if the transaction fails.
func TestAtCommitComesLastAndOnce(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		const count = `UPDATE tenants SET config_version = config_version + 1 + (SELECT count(*) FROM jobs
			WHERE tenant_id = $1) WHERE id = $1`
		counted := func(c caller.Caller) int64 {
			var n int64
			if err := d.View(ctx, c, func(tx *db.Tx) error {
				var err error
				n, err = db.One(ctx, tx, db.Column[int64], `SELECT config_version FROM tenants WHERE id = $1`)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			tx.AtCommit(count)
			tx.AtCommit(count)
			_, err := tx.Exec(ctx, insertJob, id.New(), "a", nil, []byte{}, tx.Now())
			tx.Later(insertJob, id.New(), "a", nil, []byte{}, tx.Now())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if n := counted(acme); n != 3 {
			t.Errorf("counted %d, want once and after both inserts: 3", n)
		}
		boom := errors.New("boom")
		for name, fn := range map[string]func(tx *db.Tx) error{
			"a failure": func(tx *db.Tx) error { tx.AtCommit(count); return boom },
			"a refusal": func(tx *db.Tx) error {
				tx.AtCommit(`DELETE FROM jobs WHERE kind = $1`)
				tx.AtCommit(count)
				return nil
			},
			"an error": func(tx *db.Tx) error {
				tx.AtCommit(`UPDATE tenants SET slug = NULL WHERE id = $1`)
				tx.AtCommit(count)
				return nil
			},
		} {
			if err := d.Update(ctx, acme, fn); err == nil || counted(acme) != 3 {
				t.Errorf("after %s: %d, %v", name, counted(acme), err)
			}
		}
		if err := d.System(ctx, acme, "test", func(st *db.SystemTx) error {
			st.For(acme.Tenant).AtCommit(count)
			st.For(globex.Tenant).AtCommit(count)
			return nil
		}); err != nil || counted(acme) != 6 || counted(globex) != 1 {
			t.Errorf("over tenants: %d and %d, want 6 and 1: %v", counted(acme), counted(globex), err)
		}
	})
}

func TestSystemBindsEachTenantInTurn(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		a, g := id.New(), id.New()
		err := d.System(ctx, acme, "test", func(st *db.SystemTx) error {
			st.For(acme.Tenant).Later(insertJob, a, "a", nil, []byte{}, st.Now())
			st.For(globex.Tenant).Later(insertJob, g, "g", nil, []byte{}, st.Now())
			_, err := st.Exec(ctx, `UPDATE tenants SET name = $2 WHERE id = $1`, acme.Tenant, "Acme")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if countFor(t, d, acme, a) != 1 || countFor(t, d, globex, g) != 1 || countFor(t, d, acme, g) != 0 {
			t.Error("a row is missing or in the wrong tenant")
		}
	})
}

func TestWritersShareAndDoNotDisturbOneAnother(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		var wg sync.WaitGroup
		var mu sync.Mutex
		ok := 0
		for i := range 64 {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				err := d.Update(ctx, acme, func(tx *db.Tx) error {
					if _, err := tx.Exec(ctx, insertJob, id.New(), "k", nil, []byte{}, tx.Now()); err != nil {
						return err
					}
					switch i % 4 {
					case 1:
						return errors.New("boom")
					case 2:
						cancel() // the caller goes away in the middle
					}
					return nil
				})
				if err == nil {
					mu.Lock()
					ok++
					mu.Unlock()
				} else if i%4 == 0 {
					t.Errorf("a neighbour's trouble reached writer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		var n int
		err := d.View(ctx, acme, func(tx *db.Tx) error {
			var err error
			n, err = db.One(ctx, tx, db.Column[int], `SELECT count(*) FROM jobs WHERE tenant_id = $1`)
			return err
		})
		if err != nil || n != ok {
			t.Errorf("%d rows, %d acknowledged (%v)", n, ok, err)
		}
	})
}

// SQLite answers an interrupted statement by rolling back the whole transaction, that of the
// group's other writers too. So a caller that goes away is not interrupted.
func TestACallerThatGoesAwayDoesNotInterruptTheGroup(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	ctx, acme := t.Context(), d.Tenant(t, "acme")
	insert := func(row id.ID) error {
		return d.Update(ctx, acme, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, insertJob, row, "k", nil, []byte{}, tx.Now())
			return err
		})
	}
	if err := d.Update(ctx, acme, func(tx *db.Tx) error {
		for range 200 {
			tx.Later(insertJob, id.New(), "k", nil, []byte{}, tx.Now())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	begun, leave := make(chan struct{}), make(chan struct{})
	first, neighbour := id.New(), id.New()
	wg.Go(func() { // opens the group and holds it until the others have queued
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			close(begun)
			<-leave
			_, err := tx.Exec(ctx, insertJob, first, "k", nil, []byte{}, tx.Now())
			return err
		}); err != nil {
			t.Errorf("the group's first writer: %v", err)
		}
	})
	<-begun
	wg.Go(func() {
		if err := insert(neighbour); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
	})
	wg.Go(func() {
		gone, goAway := context.WithCancel(ctx)
		_ = d.Update(gone, acme, func(tx *db.Tx) error {
			time.AfterFunc(10*time.Millisecond, goAway)
			_, err := tx.Exec(gone, `UPDATE jobs SET attempts = (SELECT count(*) FROM jobs a, jobs b, jobs c
				WHERE a.tenant_id = $1 AND b.tenant_id = $1 AND c.tenant_id = $1) WHERE tenant_id = $1 AND id = $2`,
				first)
			return err
		})
	})
	time.Sleep(20 * time.Millisecond) // both wait in the queue by now; if not, the test is easier, never wrong
	close(leave)
	wg.Wait()
	for name, row := range map[string]id.ID{"first": first, "neighbour": neighbour} {
		if countFor(t, d, acme, row) != 1 {
			t.Errorf("the %s writer's acknowledged row is gone", name)
		}
	}
}

func TestPostgresRefusesToServeWithARoleThatCouldBypass(t *testing.T) {
	d := testkit.Open(t, testkit.Postgres(t))
	for dsn, why := range map[string]string{
		d.Config.DSN:                      "could lift its row-level security",
		testkit.AdminDSN(t, d.Config.DSN): "could bypass row-level security",
	} {
		cfg := d.Config
		cfg.DSN, cfg.OwnerDSN = dsn, dsn+"&application_name=owner" // two DSNs, so the serving one is taken as it is
		other, err := db.Open(context.Background(), cfg)
		if err == nil {
			other.Close()
			t.Fatal("served with " + dsn)
		}
		if !strings.Contains(err.Error(), why) {
			t.Errorf("err = %v, want %q", err, why)
		}
	}
}
