package db_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/migrations"
)

// A table that an extension made is not one of another program.
func TestTablesOfExtensionsAreNotForeign(t *testing.T) {
	dsn := testkit.EmptyPostgres(t)
	cfg := db.Config{DSN: dsn, Postgres: migrations.Postgres, SQLite: migrations.SQLite,
		SystemTables: migrations.SystemTables}
	testkit.Execute(t, dsn, `CREATE TABLE spatial_ref_sys (srid int PRIMARY KEY)`)
	if state, err := db.Inspect(t.Context(), cfg); err != nil || state.Foreign != "public.spatial_ref_sys" ||
		!errors.Is(state.Err(), db.ErrForeign) {
		t.Errorf("a table of another program: %+v, %v", state, err)
	}
	testkit.Execute(t, dsn, `ALTER EXTENSION plpgsql ADD TABLE spatial_ref_sys`)
	if state, err := db.Inspect(t.Context(), cfg); err != nil || state.Foreign != "" || state.Err() != nil {
		t.Errorf("a table of an extension: %+v, %v", state, err)
	}
	if _, err := db.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if state, err := db.Inspect(t.Context(), cfg); err != nil || state.Err() != nil || state.Empty() {
		t.Errorf("migrated: %+v, %v", state, err)
	}
}

// A URL with a search_path shares a database on purpose. The roles of the other program keep their
// rights on it.
func TestOwnSchemaOfASharedDatabase(t *testing.T) {
	dsn := testkit.EmptyPostgres(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Execute(t, dsn, `CREATE TABLE orders (id int)`, `CREATE SCHEMA gatehouse AUTHORIZATION `+u.User.Username())
	query := u.Query()
	query.Set("search_path", "gatehouse")
	u.RawQuery = query.Encode()
	cfg := db.Config{DSN: u.String(), Postgres: migrations.Postgres, SQLite: migrations.SQLite,
		SystemTables: migrations.SystemTables}
	if state, err := db.Inspect(t.Context(), cfg); err != nil || state.Err() != nil || !state.Empty() {
		t.Errorf("%+v, %v", state, err)
	}
	if _, err := db.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	shop := login(t, dsn, "")
	if err := tryAll(t, shop, `SELECT 1`, `CREATE TEMP TABLE basket (id int)`); err != nil {
		t.Errorf("a role of the other program: %v", err)
	}
}

// Each cause that an operator can end has a remedy that names the setting.
func TestExplainPostgres(t *testing.T) {
	cfg := db.Config{DSN: "postgres://db.example.com/gatehouse"}
	for code, want := range map[string]string{
		"28P01": "password in --database", "28000": "password in --database", "3D000": "CREATE DATABASE",
		"42501": "grant the right", "53300": "--database-connections", "57P03": "start again when", "XX000": "",
	} {
		remedy, reason := db.Explain(cfg, "--database", &pgconn.PgError{Code: code, Message: "what Postgres says"})
		if !strings.Contains(reason.Error(), "what Postgres says") || !strings.Contains(remedy, want) ||
			(want == "") != (remedy == "") {
			t.Errorf("%s: %v → %q", code, reason, remedy)
		}
	}
}
