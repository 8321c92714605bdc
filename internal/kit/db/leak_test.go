package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// careless names its tenant and then asks for everybody's rows: what a mistake
// in a feature would look like.
const careless = `SELECT kind FROM jobs WHERE tenant_id = $1 OR kind <> ''`

// reader runs careless for a tenant and returns the kinds it saw; every job's
// kind is its tenant's slug, so a foreign one is a leak.
type reader func(ctx context.Context, c caller.Caller) ([]string, error)

// leaks lets many goroutines write and read as several tenants at once over the
// same connections, and counts foreign rows.
func leaks(t *testing.T, d *testkit.Database, slugs map[id.ID]string, callers []caller.Caller, read reader) (int64,
	int64) {
	t.Helper()
	ctx := context.Background()
	var wg sync.WaitGroup
	var bad, no atomic.Int64
	for g := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 30 {
				c := callers[rnd.IntN(len(callers))]
				if rnd.IntN(3) == 0 {
					err := d.Update(ctx, c, func(tx *db.Tx) error {
						tx.Later(insertJob, id.New(), slugs[c.Tenant], nil, []byte{}, tx.Now())
						if rnd.IntN(4) == 0 {
							return fmt.Errorf("rolled back, so that binds of failed transactions are tried too")
						}
						return nil
					})
					_ = err
				}
				kinds, err := read(ctx, c)
				if err != nil {
					no.Add(1)
					continue
				}
				for _, k := range kinds {
					if k != slugs[c.Tenant] {
						bad.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	return bad.Load(), no.Load()
}

func TestNoLeakBetweenTenantsUnderConcurrency(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		slugs := map[id.ID]string{}
		var callers []caller.Caller
		for i := range 5 {
			slug := fmt.Sprintf("tenant-%d", i)
			c := d.Tenant(t, slug)
			slugs[c.Tenant] = slug
			callers = append(callers, c)
			if err := d.Update(ctx, c, func(tx *db.Tx) error {
				_, err := tx.Exec(ctx, insertJob, id.New(), slug, nil, []byte{}, tx.Now())
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		locked := func(ctx context.Context, c caller.Caller) ([]string, error) {
			return db.Read(ctx, d.DB, c, func(tx *db.Tx) ([]string, error) {
				return db.List(ctx, tx, db.Column[string], careless)
			})
		}
		careful := func(ctx context.Context, c caller.Caller) ([]string, error) {
			return db.Read(ctx, d.DB, c, func(tx *db.Tx) ([]string, error) {
				return db.List(ctx, tx, db.Column[string], `SELECT kind FROM jobs WHERE tenant_id = $1`)
			})
		}
		foreign, refused := leaks(t, d, slugs, callers, careful)
		if foreign > 0 || refused > 0 {
			t.Errorf("a statement with its tenant: %d foreign rows, %d errors", foreign, refused)
		}
		// Postgres filters the careless statement; SQLite refuses it outright.
		foreign, refused = leaks(t, d, slugs, callers, locked)
		if foreign > 0 {
			t.Errorf("%d rows of other tenants came through", foreign)
		}
		if d.Name() == "sqlite" && refused != 16*30 {
			t.Errorf("%d of %d careless reads were refused", refused, 16*30)
		}
		// Positive control: the same statement past the locks does leak, and is seen to.
		if foreign, _ := leaks(t, d, slugs, callers, unlocked(t, d)); foreign == 0 {
			t.Error("with the lock off no leak was found: this test cannot find one")
		}
	})
}

// unlocked reads past kit/db: as the owner on Postgres, by a plain connection on SQLite.
func unlocked(t *testing.T, d *testkit.Database) reader {
	if d.Name() == "sqlite" {
		conn, err := sql.Open("sqlite", d.Config.DSN+"?_pragma=busy_timeout(10000)")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return func(ctx context.Context, c caller.Caller) (out []string, err error) {
			rows, err := conn.QueryContext(ctx, `SELECT kind FROM jobs WHERE tenant_id = ?1 OR kind <> ''`, c.Tenant[:])
			if err != nil {
				return nil, err
			}
			defer func() { _ = rows.Close() }()
			for rows.Next() {
				var k string
				if err := rows.Scan(&k); err != nil {
					return nil, err
				}
				out = append(out, k)
			}
			return out, rows.Err()
		}
	}
	var mu sync.Mutex
	conn, err := pgx.Connect(context.Background(), testkit.AdminDSN(t, d.Config.DSN))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return func(ctx context.Context, c caller.Caller) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		rows, err := conn.Query(ctx, careless, c.Tenant.String())
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}
}
