package bench

import (
	"fmt"
	"net/http"
	"net/url"
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
}

var (
	full  = size{Requests: 8000, SignIns: 40, Repeat: 3, Tenants: 10000, Workers: 4, Starts: 7, Idle: 10 * time.Second}
	smoke = size{Requests: 12, SignIns: 2, Repeat: 1, Tenants: 3, Workers: 2, Starts: 1}
)

// limits are the costs that no server on this machine can avoid.
type limits struct {
	ES256, Argon2id time.Duration // CPU of one signature, one hash
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
		hash, err := costOf(t.Context(), "argon2id", sz.SignIns, phc)
		if err != nil {
			return l, err
		}
		if l.ES256 == 0 || signature < l.ES256 {
			l.ES256 = signature
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
	Budget string  // in words; empty when the issue sets none
	Limit  float64 // the budget in CPU microseconds for one request; 0 for none
	Floor  float64 // CPU microseconds of the physical limit beside it
	Of     string  // what the floor is
	sample
}

// everyRow matches the name of every row.
var everyRow = regexp.MustCompile("")

// measureRows measures the wanted rows, each after a warm-up, and keeps the cheapest repetition.
func measureRows(t testing.TB, s *scene, l limits, sz size, wanted *regexp.Regexp) ([]row, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	cookie, err := s.session()
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	plain := func(request []byte) func([]*connection) (func(int, int) error, error) {
		return func(connections []*connection) (func(int, int) error, error) {
			return func(w, _ int) error {
				_, err := connections[w].roundTrip(request, http.StatusOK)
				return err
			}, nil
		}
	}
	discovery, jwks := "/.well-known/openid-configuration", "/oauth2/jwks"
	const micro = float64(time.Microsecond)
	signature, hash := float64(l.ES256)/micro, float64(l.Argon2id)/micro
	lines := []struct {
		row
		bare     func() (recorded, error) // the answer a bare handler gives again, as the floor
		times    float64                  // budget as a multiple of the bare handler
		requests int
		start    func([]*connection) (func(int, int) error, error)
	}{
		{row: row{Name: "client credentials, ES256 JWT", Budget: "≤ 150 µs", Limit: 150, Floor: signature,
			Of: "one ES256 signature"},
			start: plain(s.post("/oauth2/token", s.machine, form))},
		{row: row{Name: "introspection, opaque token", Budget: "≤ 150 µs", Limit: 150},
			bare: func() (recorded, error) {
				return record(s, "POST", "/oauth2/introspect", s.opaque, url.Values{"token": {s.opaqueToken}})
			},
			start: plain(s.post("/oauth2/introspect", s.opaque, url.Values{"token": {s.opaqueToken}}))},
		{row: row{Name: "session check", Budget: "≤ 150 µs", Limit: 150},
			start: plain(s.get("/account/session", cookie))},
		{row: row{Name: "discovery", Budget: "≤ 1.5 × bare handler"}, times: 1.5,
			bare:  func() (recorded, error) { return record(s, "GET", discovery, process.Application{}, nil) },
			start: plain(s.get(discovery))},
		{row: row{Name: "JWKS", Budget: "≤ 1.5 × bare handler"}, times: 1.5,
			bare:  func() (recorded, error) { return record(s, "GET", jwks, process.Application{}, nil) },
			start: plain(s.get(jwks))},
		{row: row{Name: "refresh, rotated, with ID token", Budget: "≤ 400 µs", Limit: 400, Floor: 2 * signature,
			Of: "two ES256 signatures"},
			requests: max(sz.Requests/3, sz.Workers),
			start:    func(c []*connection) (func(int, int) error, error) { return s.refresher(sz.Workers, c) }},
		{row: row{Name: "sign-in: authorize, page, password, code", Budget: "≤ 1.1 × argon2id", Limit: 1.1 * hash,
			Floor: hash, Of: "one argon2id hash"},
			requests: sz.SignIns,
			start: func([]*connection) (func(int, int) error, error) {
				return func(int, int) error {
					_, err := process.NewVisitor().Authorize(s.web, s.authorizationRequest(), s.user, password)
					return err
				}, nil
			}},
	}
	var rows []row
	for _, line := range lines {
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
		if line.requests == 0 {
			line.requests = sz.Requests
		}
		op, err := line.start(connect(t, s.host(), sz.Workers))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		if r.sample, err = repeated(s.server.PID(), line.requests, op, sz); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		t.Logf("%-42s %8.0f µs CPU  %8.0f/s  floor %6.0f  (%.1f s)", r.Name, r.microseconds(), r.perSecond(), r.Floor,
			time.Since(began).Seconds())
		rows = append(rows, r)
	}
	return rows, nil
}

// repeated returns the cheapest repetition of a load, by CPU time. Other work on the machine only
// adds cost, by lost caches and interrupts, to the server and the bare handler alike.
func repeated(pid, requests int, op func(int, int) error, sz size) (sample, error) {
	samples, err := inTurn(requests, sz, target{pid, op})
	if err != nil {
		return sample{}, err
	}
	return samples[0], nil
}

// target is a server and its requests.
type target struct {
	pid int
	op  func(worker, i int) error
}

// inTurn is repeated for several servers. Every repetition measures each of them, so that a bad
// minute of the machine affects all.
func inTurn(requests int, sz size, targets ...target) ([]sample, error) {
	for _, to := range targets {
		if _, err := load(to.pid, sz.Workers, max(requests/10, 1), to.op); err != nil {
			return nil, err
		}
	}
	best := make([]sample, len(targets))
	for range sz.Repeat {
		for i, to := range targets {
			one, err := load(to.pid, sz.Workers, requests, to.op)
			if err != nil {
				return nil, err
			}
			if best[i].Requests == 0 || one.CPU < best[i].CPU {
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

// authorizationRequest returns the address that an application sends the browser to. The code is
// not redeemed.
func (s *scene) authorizationRequest() string {
	return s.issuer + "/oauth2/authorize?" + url.Values{
		"client_id": {s.web.ClientID}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "scope": {"openid"},
		"state":          {"s"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}.Encode()
}

// roundTrips returns how often one refresh waits for the database. It counts on the wire and
// subtracts what the server does by itself in the same time.
func roundTrips(t testing.TB, dsn string, sz size) (float64, error) {
	p, through, err := countingProxy(t, dsn)
	if err != nil {
		return 0, err
	}
	s, err := newScene(t, process.Start(t, serverConfig(through)))
	if err != nil {
		return 0, err
	}
	op, err := s.refresher(1, connect(t, s.host(), 1))
	if err != nil {
		return 0, err
	}
	requests := max(sz.Requests/20, 5)
	if _, err := load(s.server.PID(), 1, 2, op); err != nil { // prepares the statements
		return 0, err
	}
	before := p.trips.Load()
	began := time.Now()
	if _, err := load(s.server.PID(), 1, requests, op); err != nil {
		return 0, err
	}
	during, took := p.trips.Load()-before, time.Since(began)
	before = p.trips.Load()
	time.Sleep(took)
	alone := p.trips.Load() - before
	return float64(during-alone) / float64(requests), nil
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
