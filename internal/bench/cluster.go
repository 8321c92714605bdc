package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// cluster is the Postgres server of this run, seen from one database as its administrator. A nil
// one, beside SQLite, costs nothing.
type cluster struct {
	dsn        string
	conn       *pgx.Conn
	postmaster int
	tables     []string
}

// spent is what a load cost the cluster.
type spent struct {
	CPU  time.Duration // user and system time of all its processes
	WAL  int64         // bytes
	Rows map[string]int64
}

// newCluster opens the administrator's view of a database.
func newCluster(t testing.TB, dsn string) (*cluster, error) {
	ctx := t.Context()
	c := &cluster{dsn: testkit.AdminDSN(t, dsn)}
	var err error
	if c.conn, err = pgx.Connect(ctx, c.dsn); err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.conn.Close(context.Background()) })
	var data string
	if err := c.conn.QueryRow(ctx, "SHOW data_directory").Scan(&data); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	if c.postmaster, err = strconv.Atoi(first); err != nil {
		return nil, err
	}
	rows, err := c.conn.Query(ctx, `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname`)
	if err != nil {
		return nil, err
	}
	c.tables, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return c, err
}

// around runs a load and returns what it cost the cluster.
func (c *cluster) around(load func() error) (spent, error) {
	if c == nil {
		return spent{}, load()
	}
	rows, err := c.rows()
	if err != nil {
		return spent{}, err
	}
	wal, err := c.wal()
	if err != nil {
		return spent{}, err
	}
	cpu, err := c.cpu()
	if err != nil {
		return spent{}, err
	}
	if err := load(); err != nil {
		return spent{}, err
	}
	cpuAfter, err := c.cpu()
	if err != nil {
		return spent{}, err
	}
	walAfter, err := c.wal()
	if err != nil {
		return spent{}, err
	}
	rowsAfter, err := c.rows()
	if err != nil {
		return spent{}, err
	}
	for table := range rowsAfter {
		rowsAfter[table] -= rows[table]
	}
	return spent{CPU: cpuAfter - cpu, WAL: walAfter - wal, Rows: rowsAfter}, nil
}

// tidy does what Postgres owes for the rows that were stored before a measurement, such as those of
// many tenants. Otherwise it would do that a minute later, at the cost of whatever runs then.
func (c *cluster) tidy() error {
	for _, sql := range []string{"VACUUM (ANALYZE)", "CHECKPOINT"} {
		if _, err := c.conn.Exec(context.Background(), sql); err != nil {
			return err
		}
	}
	return nil
}

// cpu returns the CPU time of the postmaster, its children, and those that have ended.
func (c *cluster) cpu() (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, file := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return 0, err
		}
		p, err := readProcess(pid)
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ESRCH): // it ended meanwhile
		case err != nil:
			return 0, err
		case pid == c.postmaster:
			total += p.cpu + p.children
		case p.parent == c.postmaster:
			total += p.cpu
		}
	}
	return total, nil
}

func (c *cluster) wal() (int64, error) {
	var n int64
	err := c.conn.QueryRow(context.Background(),
		"SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").Scan(&n)
	return n, err
}

// rows counts the rows of every table.
func (c *cluster) rows() (map[string]int64, error) {
	counts := make([]string, len(c.tables))
	for i, table := range c.tables {
		counts[i] = fmt.Sprintf("(SELECT count(*) FROM %s)", pgx.Identifier{table}.Sanitize())
	}
	values := make([]int64, len(c.tables))
	dest := make([]any, len(values))
	for i := range values {
		dest[i] = &values[i]
	}
	if err := c.conn.QueryRow(context.Background(), "SELECT "+strings.Join(counts, ", ")).Scan(dest...); err != nil {
		return nil, err
	}
	found := map[string]int64{}
	for i, table := range c.tables {
		found[table] = values[i]
	}
	return found, nil
}

// statements describes the costliest statements of n requests since the last call, if the server
// counts them.
func (c *cluster) statements(n int) (string, error) {
	ctx := context.Background()
	var counted bool
	err := c.conn.QueryRow(ctx, `SELECT current_setting('shared_preload_libraries') <> ''`).Scan(&counted)
	if err != nil || !counted {
		return "", err
	}
	if _, err := c.conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"); err != nil {
		return "", err
	}
	rows, err := c.conn.Query(ctx, `SELECT format('%8s x  plans %8s  plan %6s µs  execute %6s µs  WAL %5s B  %s',
		round(calls::numeric / $1, 2), round(plans::numeric / $1, 2), round((total_plan_time * 1000 / $1)::numeric, 1),
		round((total_exec_time * 1000 / $1)::numeric, 1), round(wal_bytes / $1),
		left(regexp_replace(query, '\s+', ' ', 'g'), 150))
		FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
		ORDER BY total_plan_time + total_exec_time DESC LIMIT 12`, n)
	if err != nil {
		return "", err
	}
	top, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil {
		_, err = c.conn.Exec(ctx, "SELECT pg_stat_statements_reset()")
	}
	return "\n" + strings.Join(top, "\n"), err
}

// left says which rows one of n requests leaves behind, to a tenth of a row.
func (s spent) left(n int) string {
	var said []string
	for _, table := range slices.Sorted(maps.Keys(s.Rows)) {
		if each := float64(s.Rows[table]) / float64(n); each >= 0.05 || each <= -0.05 {
			said = append(said, fmt.Sprintf("%.1f %s", each, table))
		}
	}
	return strings.Join(said, ", ")
}

// bareTable has the rows of the limits of a database: one key read, and one commit.
const bareTable = `CREATE TABLE IF NOT EXISTS bench_bare (id bigint PRIMARY KEY, value text NOT NULL);
	INSERT INTO bench_bare SELECT n, 'value' FROM generate_series(-1000, -1) n ON CONFLICT DO NOTHING`

// bareStatement returns a function that runs a statement with the next key: an index lookup, or an
// INSERT that commits.
func bareStatement(dsn, sql string, next func() int64) func() error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	return func() error {
		if err != nil {
			return err
		}
		_, err := conn.Exec(ctx, sql, next())
		return err
	}
}

// measureDatabase returns the cost of one bare statement: of the client's process and of Postgres.
func measureDatabase(t testing.TB, c *cluster, limit string, sz size) (sample, error) {
	if _, err := c.conn.Exec(t.Context(), bareTable); err != nil {
		return sample{}, err
	}
	var best sample
	for range sz.Repeat {
		if _, err := c.conn.Exec(t.Context(), "DELETE FROM bench_bare WHERE id >= 0"); err != nil {
			return sample{}, err
		}
		one := sample{Requests: sz.Requests}
		var err error
		one.Database, err = c.around(func() error {
			each, err := costOf(t.Context(), limit, sz.Requests, c.dsn)
			one.CPU = each * time.Duration(sz.Requests)
			return err
		})
		if err != nil {
			return sample{}, err
		}
		if best.Requests == 0 || one.total() < best.total() {
			best = one
		}
	}
	return best, nil
}
