package db_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// errSerialization is what Postgres answers when two transactions cannot both be committed.
var errSerialization = &pgconn.PgError{Code: "40001"}

func TestWriteReturnsTheValueOfTheCommittedRun(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		failed := func(runs, failures int) ([]int, error) {
			if runs <= failures {
				return []int{-runs}, errSerialization
			}
			return []int{runs}, nil
		}
		for name, write := range map[string]func(failures int) ([]int, error){
			"Write": func(failures int) ([]int, error) {
				runs := 0
				return db.Write(ctx, d.DB, acme, func(*db.Tx) ([]int, error) { runs++; return failed(runs, failures) })
			},
			"SystemWrite": func(failures int) ([]int, error) {
				runs := 0
				return db.SystemWrite(ctx, d.DB, acme, "test",
					func(*db.SystemTx) ([]int, error) { runs++; return failed(runs, failures) })
			},
		} {
			if got, err := write(0); err != nil || !slices.Equal(got, []int{1}) {
				t.Errorf("%s committed at once = %v, %v; want [1]", name, got, err)
			}
			if got, err := write(2); err != nil || !slices.Equal(got, []int{3}) {
				t.Errorf("%s committed at the third run = %v, %v; want [3]", name, got, err)
			}
			if got, err := write(9); !errors.Is(err, errSerialization) || got != nil {
				t.Errorf("%s never committed = %v, %v; want no value and the error", name, got, err)
			}
		}
	})
}

func TestAnErrorComesWithoutAValue(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme, boom := d.Tenant(t, "acme"), errors.New("boom")
		half := func(*db.Tx) (string, error) { return "half", boom }
		systemHalf := func(*db.SystemTx) (string, error) { return "half", boom }
		whole := func(*db.Tx) (string, error) { return "whole", nil }
		systemWhole := func(*db.SystemTx) (string, error) { return "whole", nil }
		for name, run := range map[string]func() (string, error){
			"Read":        func() (string, error) { return db.Read(ctx, d.DB, acme, half) },
			"Write":       func() (string, error) { return db.Write(ctx, d.DB, acme, half) },
			"SystemRead":  func() (string, error) { return db.SystemRead(ctx, d.DB, acme, "test", systemHalf) },
			"SystemWrite": func() (string, error) { return db.SystemWrite(ctx, d.DB, acme, "test", systemHalf) },
		} {
			if got, err := run(); got != "" || !errors.Is(err, boom) {
				t.Errorf("%s = %q, %v; want no value and the error", name, got, err)
			}
		}
		for name, run := range map[string]func() (string, error){
			"Read":        func() (string, error) { return db.Read(ctx, d.DB, acme, whole) },
			"Write":       func() (string, error) { return db.Write(ctx, d.DB, acme, whole) },
			"SystemRead":  func() (string, error) { return db.SystemRead(ctx, d.DB, acme, "test", systemWhole) },
			"SystemWrite": func() (string, error) { return db.SystemWrite(ctx, d.DB, acme, "test", systemWhole) },
		} {
			if got, err := run(); got != "whole" || err != nil {
				t.Errorf("%s = %q, %v; want the value", name, got, err)
			}
		}
	})
}
