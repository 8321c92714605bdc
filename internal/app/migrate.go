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
	n, err := migrate(e.ctx, cfg, database(cfg, log))
	if err != nil {
		return err
	}
	if n == 0 {
		fmt.Fprintln(e.out, "The schema has every step of this binary.")
		return nil
	}
	fmt.Fprintf(e.out, "The schema is up to date after %d steps.\n", n)
	return nil
}

// migrate applies the missing migrations and returns how many, if this binary can use the database.
func migrate(ctx context.Context, cfg *config.Config, dbc db.Config) (int, error) {
	schema := schemaFinding(ctx, cfg)
	if schema.warning && !schema.newer { // an older schema is what migrating is for
		schema.err = nil
	}
	if err := refuse(dbc.Log, dataFinding(cfg), schema); err != nil {
		return 0, err
	}
	n, err := db.Migrate(ctx, dbc)
	return n, explained(cfg, ownerSetting(cfg), err)
}

// explained returns err, or what to do about it if its cause is known.
func explained(cfg *config.Config, setting string, err error) error {
	if remedy, _ := db.Explain(database(cfg, nil), setting, err); err == nil || remedy == "" {
		return err
	}
	return unfit{unusable(cfg, setting, err)}
}

// migrated migrates the database and opens it. It runs with the given clock.
func migrated(ctx context.Context, cfg *config.Config, log *slog.Logger, c clock.Clock) (*db.DB, error) {
	dbc := database(cfg, log)
	dbc.Clock = c
	n, err := migrate(ctx, cfg, dbc)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		log.Info("schema migrated", "steps", n)
	}
	d, err := db.Open(ctx, dbc)
	return d, explained(cfg, "--database", err)
}
