package app_test

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// everyStart are the commands that use the configured database.
var everyStart = []string{
	"serve", "migrate", "demo", "doctor", "keys rotate --tenant platform", "admin make-client",
	"admin make-client --create", "admin reset-owner --create --email ada@example.com",
}

// A database with tables of another program is left as it is, and so are the rights of its roles.
func TestForeignDatabaseIsRefused(t *testing.T) {
	const words = "the database holds tables of something else, such as "
	t.Run("sqlite", func(t *testing.T) {
		for _, ddl := range []string{
			`CREATE TABLE orders (id integer)`, `CREATE TABLE users (id integer)`, `CREATE VIEW orders AS SELECT 1`,
			`CREATE TABLE goose_db_version (id integer, version_id integer, is_applied integer, tstamp text);
				INSERT INTO goose_db_version VALUES (1, 3, 1, ''); CREATE TABLE tenants (id integer)`,
		} {
			d := newDeployment(t)
			if err := os.Mkdir(d.data, 0o755); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(d.data, "gatehouse.db")
			conn, err := sql.Open("sqlite", path)
			if err == nil {
				_, err = conn.Exec(ddl)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			d.refused(nil, words, everyStart...)
			d.refused(nil, "→ name another directory with --data", everyStart...)
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("%s: the file was changed (%v)", ddl, err)
			}
			if entries, err := os.ReadDir(d.data); err != nil || len(entries) != 1 {
				t.Errorf("%s: %v (%v)", ddl, entries, err)
			}
		}
	})
	t.Run("postgres", func(t *testing.T) {
		for _, ddl := range []string{
			`CREATE TABLE orders (id int)`, `CREATE TABLE users (id int)`,
			`CREATE SCHEMA shop; CREATE TABLE shop.orders (id int)`,
			`CREATE TABLE goose_db_version (id int, version_id bigint, is_applied boolean);
				INSERT INTO goose_db_version VALUES (1, 3, true); CREATE TABLE tenants (id int)`,
		} {
			dsn := testkit.EmptyPostgres(t)
			d := newDeployment(t)
			d.env = append(d.env, "GATEHOUSE_DATABASE="+dsn)
			testkit.Execute(t, dsn, ddl)
			state := func() string {
				conn, err := pgx.Connect(t.Context(), testkit.AdminDSN(t, dsn))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close(t.Context()) }()
				var out string
				if err := conn.QueryRow(t.Context(), `SELECT (SELECT COALESCE(datacl::text, '') FROM pg_database
					WHERE datname = current_database()) || (SELECT string_agg(oid::regclass::text, ' ' ORDER BY oid)
					FROM pg_class WHERE oid >= 16384)`).Scan(&out); err != nil {
					t.Fatal(err)
				}
				return out
			}
			before := state()
			d.refused(nil, words, everyStart...)
			d.refused(nil, "→ name an empty database with --database", everyStart...)
			if after := state(); after != before {
				t.Errorf("%s: %s became %s", ddl, before, after)
			}
		}
	})
}

// A database that cannot be used is told with its cause and the setting that helps. Waiting does
// not help.
func TestUnusableDatabaseIsExplained(t *testing.T) {
	check := func(d *deployment, commands []string, words ...string) {
		t.Helper()
		for _, command := range commands {
			code, out := d.run(nil, strings.Fields(command)...)
			for _, want := range append(words, "→") {
				if code != 1 || !strings.Contains(out, want) {
					t.Errorf("%s: exit code %d, want 1 and %q:\n%s", command, code, want, out)
				}
			}
			for _, never := range []string{"database.unavailable", "Try again in a moment"} {
				if strings.Contains(out, never) {
					t.Errorf("%s says %q:\n%s", command, never, out)
				}
			}
		}
	}
	noDatabase := newDeployment(t)
	if err := os.Mkdir(noDatabase.data, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(noDatabase.data, "gatehouse.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	check(noDatabase, everyStart, path+" is not a SQLite database", "move the file away", "--data")

	creating := []string{"doctor", "serve", "migrate", "demo", "admin make-client --create"}
	unwritable := newDeployment(t)
	unwritable.env[0] = "GATEHOUSE_DATA=/proc/gatehouse" // root writes in every other directory
	check(unwritable, creating, "/proc/gatehouse cannot be written", "name another directory with --data")

	if os.Geteuid() > 0 {
		readOnly := newDeployment(t)
		if err := os.Mkdir(readOnly.data, 0o555); err != nil {
			t.Fatal(err)
		}
		check(readOnly, creating, "permission denied", "let the user that runs gatehouse read and write "+readOnly.data)
	}

	dsn, err := url.Parse(testkit.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	for change, words := range map[string][]string{
		"/no_such_database": {"does not exist", "CREATE DATABASE", "--database"},
		"127.0.0.1:1":       {"connection refused", "correct the host and port in --database"},
		"db.invalid":        {"the host db.invalid cannot be resolved", "correct the host in --database"},
	} {
		u := *dsn
		if strings.HasPrefix(change, "/") {
			u.Path = change
		} else {
			u.Host, u.RawQuery = change, ""
		}
		d := newDeployment(t)
		d.env = append(d.env, "GATEHOUSE_DATABASE="+u.String())
		check(d, everyStart, words...)
	}
}
