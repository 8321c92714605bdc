package db_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
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
