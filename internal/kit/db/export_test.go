package db

import (
	"context"
	"testing"
)

// LimitPages lets an SQLite file grow no further: SQLite answers as on a full disk.
func LimitPages(t testing.TB, d *DB) {
	t.Helper()
	var n int
	row := d.engine.(*sqlite).conn.QueryRowContext(context.Background(), "PRAGMA max_page_count = 1")
	if err := row.Scan(&n); err != nil {
		t.Fatal(err)
	}
}

// DeferForeignKeys lets the transaction of SQLite that runs check foreign keys at its COMMIT, which
// then fails. Call it in Update.
func DeferForeignKeys(d *DB) error {
	_, err := d.engine.(*sqlite).conn.ExecContext(context.Background(), "PRAGMA defer_foreign_keys = ON")
	return err
}
