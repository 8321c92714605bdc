package bench

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// size bounds the measurement.
type size struct {
	Requests int           // of each light row, per repetition
	SignIns  int           // per repetition
	Repeat   int           // repetitions, of which the cheapest counts
	Tenants  int           // in the database when everything is measured again
	Workers  int           // connections
	Starts   int           // of the server, of which the median counts
	Idle     time.Duration // before memory is read
	Age      int           // rotations of an old refresh family
}

var (
	full = size{Requests: 4000, SignIns: 40, Repeat: 3, Tenants: 10000, Workers: 4, Starts: 7, Idle: 10 * time.Second,
		Age: 10000}
	smoke = size{Requests: 12, SignIns: 2, Repeat: 1, Tenants: 3, Workers: 2, Starts: 1, Age: 5}
)

// limits are the costs that no server on this machine can avoid.
type limits struct {
	ES256, RS256 time.Duration // CPU of one signature
	Argon2id     time.Duration // and of one hash
	Read, Commit sample        // one key read of Postgres, one commit of a row
}

func measureLimits(t testing.TB, sz size) (limits, error) {
	p := credential.DefaultParams
	phc := fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$", p.Memory, p.Passes, p.Lanes)
	var l limits
	for range sz.Repeat {
		signature, err := costOf(t.Context(), "es256", sz.Requests, "")
		if err != nil {
			return l, err
		}
		long, err := costOf(t.Context(), "rs256", sz.Requests/20+1, "")
		if err != nil {
			return l, err
		}
		hash, err := costOf(t.Context(), "argon2id", sz.SignIns, phc)
		if err != nil {
			return l, err
		}
		if l.ES256 == 0 || signature < l.ES256 {
			l.ES256 = signature
		}
		if l.RS256 == 0 || long < l.RS256 {
			l.RS256 = long
		}
		if l.Argon2id == 0 || hash < l.Argon2id {
			l.Argon2id = hash
		}
	}
	return l, nil
}

// row is a line of the report: a load, its cost and its budget.
type row struct {
	Name   string
	Budget string  // in words
	Limit  float64 // the budget in CPU microseconds of server and Postgres for one request
	Floor  float64 // CPU microseconds of the physical limit beside it; 0 for none
	Of     string  // what the floor is
	Trips  float64 // round trips to Postgres
	sample
}

// everyRow matches the name of every row.
var everyRow = regexp.MustCompile("")

// measureRows measures the wanted rows, each after a warm-up, and keeps the cheapest repetition.
func measureRows(t testing.TB, s *scene, c *cluster, l limits, sz size, wanted *regexp.Regexp) ([]row, error) {
	var rows []row
	for _, line := range lines(s, l, sz) {
		if !wanted.MatchString(line.Name) {
			continue
		}
		began := time.Now()
		r := line.row
		if line.bare != nil {
			answer, err := line.bare()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.Name, err)
			}
			floor, err := measureBare(t, answer, sz)
			if err != nil {
				return nil, fmt.Errorf("bare handler for %s: %w", r.Name, err)
			}
			r.Floor, r.Of = floor.microseconds(), "bare handler"
			if line.times > 0 {
				r.Limit = line.times * r.Floor
			}
		}
		to, err := line.start(connect(t, s.host(), sz.Workers))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		to.pid, to.cluster = s.server.PID(), c
		samples, err := inTurn(line.requests, sz, to)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		r.sample = samples[0]
		if c != nil {
			top, err := c.statements(line.requests * sz.Repeat)
			if err != nil {
				return nil, err
			}
			if top != "" {
				t.Log(top)
			}
		}
		t.Logf("%-42s %6.0f + %5.0f = %6.0f µs CPU of %6.0f  floor %5.0f  WAL %5d B  %6.0f/s  (%.1f s) leaves %s",
			r.Name, r.microseconds(), r.database(), r.total(), r.Limit, r.Floor,
			r.Database.WAL/int64(r.Requests), r.perSecond(), time.Since(began).Seconds(),
			r.Database.left(r.Requests))
		rows = append(rows, r)
	}
	return rows, nil
}

// repeated returns the cheapest repetition of a load, by CPU time. Other work on the machine only
// adds cost, by lost caches and interrupts, to the server and the bare handler alike.
func repeated(pid, requests int, op func(int, int) error, sz size) (sample, error) {
	samples, err := inTurn(requests, sz, target{pid: pid, op: op})
	if err != nil {
		return sample{}, err
	}
	return samples[0], nil
}

// target is a server and its requests.
type target struct {
	pid     int
	cluster *cluster // nil if the database does not count
	op      func(worker, i int) error
	prepare func(n int) error // what n requests need, unless nil; it does not count
}

func (to target) load(workers, total int) (sample, error) {
	if to.prepare != nil {
		if err := to.prepare(total); err != nil {
			return sample{}, fmt.Errorf("preparing: %w", err)
		}
		time.Sleep(settle)
	}
	var s sample
	cost, err := to.cluster.around(func() error {
		var err error
		s, err = load(to.pid, workers, total, to.op)
		return err
	})
	s.Database = cost
	return s, err
}

// inTurn is repeated for several servers. Every repetition measures each of them, so that a bad
// minute of the machine affects all.
func inTurn(requests int, sz size, targets ...target) ([]sample, error) {
	for _, to := range targets {
		if _, err := to.load(sz.Workers, max(requests/10, 1)); err != nil {
			return nil, err
		}
	}
	best := make([]sample, len(targets))
	for range sz.Repeat {
		for i, to := range targets {
			one, err := to.load(sz.Workers, requests)
			if err != nil {
				return nil, err
			}
			if best[i].Requests == 0 || one.total() < best[i].total() {
				best[i] = one
			}
		}
	}
	return best, nil
}

func measureBare(t testing.TB, answer recorded, sz size) (sample, error) {
	address, pid, err := bare(t, answer)
	if err != nil {
		return sample{}, err
	}
	connections := connect(t, address, sz.Workers)
	request := []byte("GET / HTTP/1.1\r\nHost: " + address + "\r\n\r\n")
	return repeated(pid, sz.Requests, func(w, _ int) error {
		_, err := connections[w].roundTrip(request, answer.Status)
		return err
	}, sz)
}

// roundTrips returns how often one request of each wanted row waits for the database. It counts on
// the wire and subtracts what the server does by itself in the same time.
func roundTrips(t testing.TB, dsn string, l limits, sz size, wanted *regexp.Regexp) (map[string]float64, error) {
	p, through, err := countingProxy(t, dsn)
	if err != nil {
		return nil, err
	}
	s, err := newScene(t, process.Start(t, serverConfig(through)))
	if err != nil {
		return nil, err
	}
	few := sz
	// Enough that one tick of the server, in the time of few requests, is little for each.
	few.Requests, few.SignIns, few.Age, few.Workers = max(sz.Requests/20, 100), max(sz.SignIns/4, 2), 3, 1
	trips := map[string]float64{}
	for _, line := range lines(s, l, few) {
		if !wanted.MatchString(line.Name) {
			continue
		}
		to, err := line.start(connect(t, s.host(), 1))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line.Name, err)
		}
		to.pid = s.server.PID()
		if _, err := to.load(1, 2); err != nil { // prepares the statements
			return nil, fmt.Errorf("%s: %w", line.Name, err)
		}
		if to.prepare != nil {
			if err := to.prepare(line.requests); err != nil {
				return nil, fmt.Errorf("%s: %w", line.Name, err)
			}
			time.Sleep(settle)
		}
		before, began := p.trips.Load(), time.Now()
		if _, err := load(to.pid, 1, line.requests, to.op); err != nil {
			return nil, fmt.Errorf("%s: %w", line.Name, err)
		}
		during, took := p.trips.Load()-before, time.Since(began)
		before = p.trips.Load()
		time.Sleep(took)
		alone := p.trips.Load() - before
		trips[line.Name] = max(0, float64(during-alone)/float64(line.requests))
	}
	return trips, nil
}

// startTime returns the median time from starting the process on an existing SQLite database to its
// first ready answer.
func startTime(t testing.TB, sz size) (time.Duration, error) {
	server := process.Start(t, serverConfig(""))
	if _, err := newScene(t, server); err != nil {
		return 0, err
	}
	var all []time.Duration
	for range sz.Starts {
		server.Restart(t)
		all = append(all, server.Ready)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// prebuilt is the path of the gatehouse to measure. If it is empty, this source is built.
var prebuilt string

// serverConfig returns how servers are started here: one core, no limit per address, quiet.
func serverConfig(dsn string) process.Config {
	return process.Config{Database: dsn, Env: []string{"GOMAXPROCS=1"}, Binary: prebuilt, Plain: true}
}

// addTenants creates n more tenants through the API. It returns the server's CPU time for one of
// the first tenth and one of the last tenth.
func addTenants(s *scene, n int) (sample, sample, error) {
	create := func(_, i int) error {
		return s.operator.Call("POST", "platform", "/tenants",
			map[string]any{"slug": fmt.Sprintf("tenant-%06d", i), "name": fmt.Sprintf("Tenant %d", i)}, nil)
	}
	tenth := max(n/10, 1)
	offset := 0
	part := func(count int) (sample, error) {
		from := offset
		offset += count
		return load(s.server.PID(), 2, count, func(w, i int) error { return create(w, from+i) })
	}
	first, err := part(tenth)
	if err != nil {
		return sample{}, sample{}, err
	}
	if n > 2*tenth {
		if _, err := part(n - 2*tenth); err != nil {
			return sample{}, sample{}, err
		}
	}
	last, err := part(tenth)
	return first, last, err
}
