package db_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A file that another process locks, and one that cannot be written, are "try again".
func TestSQLiteUnwilling(t *testing.T) {
	for name, statement := range map[string]string{
		"locked": "BEGIN IMMEDIATE", "full": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := testkit.SQLite(t)
			d := testkit.Open(t, path)
			acme := d.Tenant(t, "acme")
			if statement != "" {
				other, err := sql.Open("sqlite", path)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = other.Close() }()
				other.SetMaxOpenConns(1)
				if _, err := other.Exec(statement); err != nil {
					t.Fatal(err)
				}
				if err := touch(t.Context(), d.DB, acme); !unavailable(err) {
					t.Errorf("err = %v", err)
				}
				if _, err := other.Exec("ROLLBACK"); err != nil {
					t.Fatal(err)
				}
			} else {
				db.LimitPages(t, d.DB)
				err := d.Update(t.Context(), acme, func(tx *db.Tx) error {
					tx.Later(`INSERT INTO policy_settings (tenant_id, settings, updated_at) VALUES ($1, $2, 0)`,
						strings.Repeat("x", 1<<20))
					return nil
				})
				if !unavailable(err) {
					t.Errorf("err = %v", err)
				}
				if err := d.Willing(); !unavailable(err) {
					t.Errorf("ready on a full disk: %v", err)
				}
			}
			if err := touch(t.Context(), d.DB, acme); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if err := d.Willing(); err != nil {
				t.Errorf("ready afterwards: %v", err)
			}
		})
	}
}

// A caller of a locked file waits for as long as it likes, and not for those before it.
func TestWritersOfALockedFileWatchTheirOwnDeadline(t *testing.T) {
	path := testkit.SQLite(t)
	d := testkit.Open(t, path)
	acme := d.Tenant(t, "acme")
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			// Otherwise SQLite's own answer comes, after its ten seconds.
			if err := touch(ctx, d.DB, acme); !unavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("err = %v", err)
			}
		})
	}
	all.Wait()
	if _, err := other.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := touch(t.Context(), d.DB, acme); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A COMMIT that failed took back the binding to the tenant too.
func TestSQLiteAfterACommitThatFailed(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
	if err := touch(t.Context(), d.DB, globex); err != nil {
		t.Fatal(err)
	}
	err := d.Update(t.Context(), acme, func(tx *db.Tx) error {
		if err := db.DeferForeignKeys(d.DB); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `INSERT INTO consents (tenant_id, user_id, application_id, scopes, updated_at)
			VALUES ($1, $2, $2, '', 0)`, id.New())
		return err
	})
	if err == nil {
		t.Fatal("the COMMIT did not fail")
	}
	if err := touch(t.Context(), d.DB, acme); err != nil {
		t.Errorf("the next write: %v", err)
	}
}

// What Postgres says of a full disk is "try again", and the replica is not ready meanwhile.
func TestPostgresOnAFullDisk(t *testing.T) {
	for _, code := range []string{"53100", "53200", "58030"} { // the disk, the memory, an error of the disk
		dsn := testkit.Postgres(t)
		d := testkit.Open(t, dsn)
		acme := d.Tenant(t, "acme")
		testkit.Execute(t, dsn, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
			$$BEGIN RAISE 'could not extend file' USING ERRCODE = '`+code+`'; END$$`,
			`CREATE TRIGGER full_disk BEFORE INSERT ON owner_locks EXECUTE FUNCTION full_disk()`)
		if err := touch(t.Context(), d.DB, acme); !unavailable(err) {
			t.Errorf("%s: a write: %v", code, err)
		}
		if err := look(t.Context(), d.DB, acme); err != nil {
			t.Errorf("%s: a read: %v", code, err)
		}
		if err := d.Willing(); !unavailable(err) {
			t.Errorf("%s: ready: %v", code, err)
		}
		testkit.Execute(t, dsn, `DROP TRIGGER full_disk ON owner_locks`)
		if err := touch(t.Context(), d.DB, acme); err != nil {
			t.Errorf("%s: a write afterwards: %v", code, err)
		}
		if err := d.Willing(); err != nil {
			t.Errorf("%s: ready afterwards: %v", code, err)
		}
	}
}
