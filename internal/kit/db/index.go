package db

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

// A new index holds up every write to its table until it is built: minutes, for millions of audit
// events. CREATE INDEX CONCURRENTLY does not, but Postgres has it for ordinary tables only. A step
// with this line therefore indexes each partition first, concurrently. Its own CREATE INDEX finds
// those indexes and attaches them.
const indexesPartitions = "-- Partitions first.\n"

// createIndexRE matches a statement of such a step: UNIQUE, the index, the table, the rest.
var createIndexRE = regexp.MustCompile(`(?m)^CREATE (UNIQUE )?INDEX (\w+) ON (\w+) ([^;]+);`)

// partitionSteps returns the steps that index partitions, to run by indexStep.
func partitionSteps(files fs.FS) ([]goose.ProviderOption, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var opts []goose.ProviderOption
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(text), indexesPartitions) {
			continue
		}
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		opts = append(opts, goose.WithExcludeVersions([]int64{version}),
			goose.WithGoMigrations(goose.NewGoMigration(version, &goose.GoFunc{
				RunDB: func(ctx context.Context, d *sql.DB) error { return indexStep(ctx, d, string(text)) },
			}, nil)))
	}
	return opts, nil
}

// indexStep creates the indexes of a step. It can be repeated after a crash.
func indexStep(ctx context.Context, d *sql.DB, text string) error {
	for _, m := range createIndexRE.FindAllStringSubmatch(text, -1) {
		statement, unique, index, table, rest := m[0], m[1], m[2], m[3], m[4]
		exists, _, err := indexState(ctx, d, index)
		if err != nil {
			return err
		}
		if exists {
			continue
		}
		partitions, err := partitionsOf(ctx, d, table)
		if err != nil {
			return err
		}
		for _, partition := range partitions {
			if err := indexConcurrently(ctx, d, partition+"__"+index, unique, partition, rest); err != nil {
				return err
			}
		}
		if _, err := d.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// indexConcurrently builds an index, unless it exists. It replaces one that a crash left half
// built.
func indexConcurrently(ctx context.Context, d *sql.DB, index, unique, table, rest string) error {
	exists, valid, err := indexState(ctx, d, index)
	if err != nil || valid {
		return err
	}
	name := pgx.Identifier{index}.Sanitize()
	if exists {
		if _, err := d.ExecContext(ctx, `DROP INDEX CONCURRENTLY `+name); err != nil {
			return err
		}
	}
	_, err = d.ExecContext(ctx, fmt.Sprintf(`CREATE %sINDEX CONCURRENTLY %s ON %s %s`, unique, name,
		pgx.Identifier{table}.Sanitize(), rest))
	return err
}

// indexState reports whether an index exists, and whether it is whole.
func indexState(ctx context.Context, d *sql.DB, name string) (bool, bool, error) {
	var exists, valid bool
	err := d.QueryRowContext(ctx, `SELECT count(*) > 0, coalesce(bool_and(indisvalid), false)
		FROM pg_index WHERE indexrelid = to_regclass($1)`, name).Scan(&exists, &valid)
	return exists, valid, err
}

func partitionsOf(ctx context.Context, d *sql.DB, table string) ([]string, error) {
	rows, err := d.QueryContext(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = to_regclass($1) ORDER BY c.relname`, table)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
