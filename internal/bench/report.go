package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// report holds the measurements of one run.
type report struct {
	Size                     size
	Limits                   limits
	Few                      []row         // Postgres, the bench tenant and the platform alone
	Many                     []row         // the same with Size.Tenants more
	Embedded                 []row         // SQLite
	Start                    time.Duration // SQLite, existing database
	IdlePostgres, IdleSQLite int64         // bytes
	IdleMany                 int64
	FirstTenant, LastTenant  sample
}

// measureAll measures everything. newDSN returns an empty Postgres database at each call.
func measureAll(t testing.TB, newDSN func() string, sz size) (*report, error) {
	r := &report{Size: sz}
	var err error
	if r.Limits, err = measureLimits(t, sz); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	r.Limits.log(t)

	idle := func(server *process.Server) (int64, error) {
		time.Sleep(sz.Idle)
		return residentMemory(server.PID())
	}
	dsn := newDSN()
	server := process.Start(t, serverConfig(dsn))
	c, err := newCluster(t, dsn)
	if err != nil {
		return nil, err
	}
	if err := measureFloors(t, c, &r.Limits, sz); err != nil {
		return nil, err
	}
	if r.IdlePostgres, err = idle(server); err != nil {
		return nil, err
	}
	s, err := newScene(t, server)
	if err != nil {
		return nil, err
	}
	if err := c.tidy(); err != nil {
		return nil, err
	}
	if r.Few, err = measureRows(t, s, c, r.Limits, sz, everyRow); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if r.FirstTenant, r.LastTenant, err = addTenants(s, sz.Tenants); err != nil {
		return nil, fmt.Errorf("more tenants: %w", err)
	}
	if err := c.tidy(); err != nil {
		return nil, err
	}
	// In the same process: housekeeping visits every tenant after a start, and would share the
	// cores with these requests.
	if r.Many, err = measureRows(t, s, c, r.Limits, sz, everyRow); err != nil {
		return nil, fmt.Errorf("postgres, %d tenants: %w", sz.Tenants, err)
	}
	// In a fresh process, memory is what so many tenants need, without the garbage of their
	// creation.
	server.Restart(t)
	if r.IdleMany, err = idle(server); err != nil {
		return nil, err
	}
	server.Kill()

	trips, err := roundTrips(t, newDSN(), r.Limits, sz, everyRow)
	if err != nil {
		return nil, fmt.Errorf("round trips: %w", err)
	}
	for i := range r.Few {
		r.Few[i].Trips = trips[r.Few[i].Name]
	}

	server = process.Start(t, serverConfig(""))
	if r.IdleSQLite, err = idle(server); err != nil {
		return nil, err
	}
	if s, err = newScene(t, server); err != nil {
		return nil, err
	}
	if r.Embedded, err = measureRows(t, s, nil, r.Limits, sz, everyRow); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	server.Kill()
	r.Start, err = startTime(t, sz)
	return r, err
}

func (l limits) log(t testing.TB) {
	t.Logf("one ES256 signature %s, one RS256 signature %s, one argon2id hash %s of CPU", l.ES256, l.RS256, l.Argon2id)
}

// measureOnly logs some of the rows, for work on one.
func measureOnly(t testing.TB, newDSN func() string, sz size, wanted *regexp.Regexp) error {
	l, err := measureLimits(t, sz)
	if err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	l.log(t)
	dsn := newDSN()
	s, err := newScene(t, process.Start(t, serverConfig(dsn)))
	if err != nil {
		return err
	}
	c, err := newCluster(t, dsn)
	if err != nil {
		return err
	}
	if err := measureFloors(t, c, &l, sz); err != nil {
		return err
	}
	if _, err = measureRows(t, s, c, l, sz, wanted); err != nil {
		return err
	}
	s.server.Kill()
	trips, err := roundTrips(t, newDSN(), l, sz, wanted)
	for name, n := range trips {
		t.Logf("%-42s %.2f round trips", name, n)
	}
	return err
}

// measureFloors adds what Postgres cannot avoid to the limits.
func measureFloors(t testing.TB, c *cluster, l *limits, sz size) error {
	var err error
	if l.Read, err = measureDatabase(t, c, "read", sz); err != nil {
		return fmt.Errorf("bare key read: %w", err)
	}
	if l.Commit, err = measureDatabase(t, c, "commit", sz); err != nil {
		return fmt.Errorf("bare commit: %w", err)
	}
	for name, s := range map[string]sample{"key read": l.Read, "commit": l.Commit} {
		t.Logf("a bare %-8s %4.0f + %4.0f = %4.0f µs CPU, WAL %d B", name, s.microseconds(), s.database(), s.total(),
			s.Database.WAL/int64(s.Requests))
	}
	return nil
}

// verdict says in words, not by colour, whether a budget was kept.
func verdict(ok bool) string {
	if ok {
		return "met"
	}
	return "**missed**"
}

// write prints the tables as Markdown.
func (r *report) write(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n", machine())
	fmt.Fprintf(w, "Physical limits measured in the same run: one ES256 signature %.0f µs, one RS256 signature (the "+
		"default of ID tokens; the rows have ES256) %.0f µs, one argon2id hash with the server's parameters %.1f ms "+
		"of CPU.\n\n", micros(r.Limits.ES256), micros(r.Limits.RS256), micros(r.Limits.Argon2id)/1000)

	fmt.Fprintf(w, "In the same run, as CPU of the client and of Postgres: a bare key read %.0f + %.0f µs, a bare "+
		"commit of one row %.0f + %.0f µs and %d B of WAL.\n\n", r.Limits.Read.microseconds(), r.Limits.Read.database(),
		r.Limits.Commit.microseconds(), r.Limits.Commit.database(),
		r.Limits.Commit.Database.WAL/int64(r.Limits.Commit.Requests))

	fmt.Fprintf(w, "## Postgres\n\n")
	fmt.Fprintf(w, "| request | budget | server | Postgres | together | ratio to budget | | floor beside it | "+
		"× floor | round trips | WAL | rows left behind | requests/s | p50 | p99 |\n"+
		"|---|---|--:|--:|--:|--:|---|---|--:|--:|--:|---|--:|--:|--:|\n")
	for _, l := range r.Few {
		l.write(w, true)
	}
	fmt.Fprintf(w, "\n| | budget | value | ratio to budget | |\n|---|---|--:|--:|---|\n")
	limit := func(name, budget, value string, ratio float64) {
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %s |\n", name, budget, value, ratio, verdict(ratio <= 1))
	}
	limit("start to ready, SQLite, existing database", "≤ 300 ms", fmt.Sprintf("%.0f ms", r.Start.Seconds()*1000),
		r.Start.Seconds()/0.3)
	limit("idle memory, SQLite", "≤ 80 MB", megabytes(r.IdleSQLite), float64(r.IdleSQLite)/80e6)
	limit("idle memory, Postgres", "≤ 80 MB", megabytes(r.IdlePostgres), float64(r.IdlePostgres)/80e6)
	limit(fmt.Sprintf("idle memory, Postgres, %d tenants", r.Size.Tenants), "≤ 80 MB", megabytes(r.IdleMany),
		float64(r.IdleMany)/80e6)

	fmt.Fprintf(w, "\n## The same with %d tenants in the database\n\n", r.Size.Tenants)
	fmt.Fprintf(w, "| request | before | now | change | ≤ +10 %% | requests/s | p50 | p99 "+
		"|\n|---|--:|--:|--:|---|--:|--:|--:|\n")
	for i, l := range r.Many {
		change := l.total()/r.Few[i].total() - 1
		fmt.Fprintf(w, "| %s | %s | %s | %+.0f %% | %s | %.0f | %s | %s |\n", l.Name, cpu(r.Few[i].total()),
			cpu(l.total()), 100*change, verdict(change <= 0.1), l.perSecond(), latency(l.P50), latency(l.P99))
	}
	first, last := r.FirstTenant.microseconds(), r.LastTenant.microseconds()
	fmt.Fprintf(w, "| creating a tenant, first and last tenth | %s | %s | %+.0f %% | %s | %.0f | %s | %s |\n",
		cpu(first), cpu(last),
		100*(last/first-1), verdict(last/first <= 1.2), r.LastTenant.perSecond(), latency(r.LastTenant.P50),
		latency(r.LastTenant.P99))

	fmt.Fprintf(w, "\n## SQLite\n\nWithout budgets of its own; the database's work is in the server's process "+
		"here.\n\n")
	fmt.Fprintf(w, "| request | budget | server CPU | ratio to budget | | floor beside it | × floor | requests/s | "+
		"p50 | p99 |\n|---|---|--:|--:|---|---|--:|--:|--:|--:|\n")
	for _, l := range r.Embedded {
		l.write(w, false)
	}
}

// write prints the row, with what it costs the database if that is a server of its own.
func (l row) write(w io.Writer, postgres bool) {
	value := l.total()
	ratio, said, floor, times := "", "", "", ""
	if l.Limit > 0 {
		ratio, said = fmt.Sprintf("%.2f", value/l.Limit), verdict(value <= l.Limit)
	}
	if l.Floor > 0 {
		floor, times = fmt.Sprintf("%s, %s", l.Of, cpu(l.Floor)), fmt.Sprintf("%.2f", value/l.Floor)
	}
	if !postgres {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %.0f | %s | %s |\n",
			l.Name, l.Budget, cpu(value), ratio, said, floor, times, l.perSecond(), latency(l.P50), latency(l.P99))
		return
	}
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %.2f | %d B | %s | %.0f | %s | %s |\n",
		l.Name, l.Budget, cpu(l.microseconds()), cpu(l.database()), cpu(value), ratio, said, floor, times, l.Trips,
		l.Database.WAL/int64(l.Requests), l.Database.left(l.Requests), l.perSecond(), latency(l.P50), latency(l.P99))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func cpu(us float64) string {
	if us >= 10_000 {
		return fmt.Sprintf("%.1f ms", us/1000)
	}
	return fmt.Sprintf("%.0f µs", us)
}

func latency(d time.Duration) string { return fmt.Sprintf("%.2f ms", micros(d)/1000) }

func megabytes(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }

// machine describes the machine without naming it.
func machine() string {
	model, cores := "unknown processor", runtime.NumCPU()
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	memory := "unknown memory"
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err == nil {
			memory = fmt.Sprintf("%d GB", (kib+512<<10)>>20)
		}
	}
	kernel := "unknown kernel"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = "Linux " + strings.SplitN(strings.TrimSpace(string(b)), "-", 2)[0]
	}
	postgres := "Postgres of unknown version"
	for _, program := range []string{"postgres", "psql"} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		out, err := exec.CommandContext(ctx, program, "--version").Output()
		cancel()
		if fields := strings.Fields(string(out)); err == nil && len(fields) > 2 {
			postgres = "PostgreSQL " + fields[2]
			break
		}
	}
	return fmt.Sprintf("%s, %d cores, %s of memory; %s, %s, %s. The server has one core (GOMAXPROCS=1); the load, "+
		"Postgres and the system share the machine with it. Postgres does not wait for the disk (fsync off, as in "+
		"the tests), which shortens the times of writes and leaves the server's CPU as it is.",
		model, cores, memory, kernel, runtime.Version(), postgres)
}
