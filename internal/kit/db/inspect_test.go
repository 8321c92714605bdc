package db_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/migrations"
)

// Inspect tells a new database, a migrated one and one of a newer release apart, and changes none.
func TestInspect(t *testing.T) {
	ctx := context.Background()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		state, err := db.Inspect(ctx, d.Config)
		if err != nil || state.Empty() || state.Schema != state.Binary || state.Err() != nil {
			t.Errorf("a migrated database: %+v, %v, %v", state, err, state.Err())
		}
		state.Schema++
		if err := state.Err(); err == nil || !strings.Contains(err.Error(), "newer than this binary") {
			t.Errorf("a schema of a newer release: %v", err)
		}
		if state.Oldest = state.Binary; state.Err() != nil {
			t.Errorf("one that serves this binary too: %v", state.Err())
		}
	})
	path := filepath.Join(t.TempDir(), "new", "gatehouse.db")
	cfg := db.Config{DSN: path, SQLite: migrations.SQLite, Postgres: migrations.Postgres}
	if state, err := db.Inspect(ctx, cfg); err != nil || !state.Empty() || state.Err() != nil {
		t.Errorf("no database: %+v, %v", state, err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("inspecting created a directory")
	}
	if _, err := db.Migrate(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	conn, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1);
		UPDATE schema_support SET oldest = 99999`); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if state, err := db.Inspect(ctx, cfg); err != nil || state.Schema != 99999 || state.Err() == nil {
		t.Errorf("a newer schema: %+v, %v", state, err)
	}
}

// A database in another encoding cannot hold every language.
func TestEncoding(t *testing.T) {
	for encoding, ok := range map[string]bool{
		"UTF8": true, "UTF-8": true, "": true, "SQL_ASCII": false, "LATIN1": false, "UTF-16le": false,
	} {
		if err := (db.State{Encoding: encoding}).Err(); (err == nil) != ok {
			t.Errorf("%s: %v", encoding, err)
		}
	}
	d := testkit.Open(t, testkit.Postgres(t))
	state, err := db.Inspect(context.Background(), d.Config)
	if err != nil || state.Encoding != "UTF8" {
		t.Errorf("Postgres: %+v, %v", state, err)
	}
}

// The files of a SQLite database hold password hashes. No other user of the machine reads them,
// also in a directory that others may enter, and also those of an earlier release.
func TestSQLiteFilesArePrivate(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := db.Config{DSN: filepath.Join(dir, "gatehouse.db"), SQLite: migrations.SQLite,
		SystemTables: migrations.SystemTables}
	check := func(when string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) < 2 {
			t.Fatalf("%s: %v, %v", when, entries, err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %s has mode %v (%v)", when, e.Name(), info.Mode().Perm(), err)
			}
		}
	}
	if _, err := db.Migrate(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	check("a new database")
	for _, name := range db.SQLiteFiles(cfg.DSN) {
		if err := os.Chmod(name, 0o644); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	again, err := db.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	check("one that others could read")
	again.Close()
	d.Close()
}
