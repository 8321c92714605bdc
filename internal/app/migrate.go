package app

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/migrations"
)

// database returns the settings of kit/db for the configured database.
func database(cfg *config.Config, log *slog.Logger) db.Config {
	return db.Config{
		DSN: cfg.DSN(), OwnerDSN: cfg.MigrateDatabase.Reveal(), SystemTables: migrations.SystemTables,
		Postgres: migrations.Postgres, SQLite: migrations.SQLite,
		Clock: clock.System{}, Log: log, MaxConns: cfg.DatabaseConnections,
	}
}

type migrateCommand struct {
	config.Flags `embed:""`
}

// Run migrates the database and prints the number of steps.
func (c *migrateCommand) Run(e *env) error {
	cfg, log, err := e.load(c.Flags)
	if err != nil {
		return err
	}
	n, err := db.Migrate(e.ctx, database(cfg, log))
	if err != nil {
		return err
	}
	if n == 0 {
		fmt.Fprintln(e.out, "The schema is up to date.")
		return nil
	}
	fmt.Fprintf(e.out, "The schema is up to date after %d steps.\n", n)
	return nil
}

// migrated migrates the database and opens it.
func migrated(ctx context.Context, dbc db.Config) (*db.DB, error) {
	n, err := db.Migrate(ctx, dbc)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		dbc.Log.Info("schema migrated", "steps", n)
	}
	return db.Open(ctx, dbc)
}
