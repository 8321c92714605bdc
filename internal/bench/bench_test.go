package bench

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

var (
	measure = flag.Bool("measure", false, "measure for real: minutes on an otherwise idle machine")
	output  = flag.String("output", "", "file that gets the table, beside the log")
	tenants = flag.Int("tenants", full.Tenants, "tenants in the database for the second pass")
	age     = flag.Int("age", full.Age, "rotations of an old refresh family")
	only    = flag.String("only", "",
		"measure just the rows whose name matches this regular expression, on Postgres, and write no table")
	statements = flag.Bool("statements", false,
		"log what each statement costs Postgres, with pg_stat_statements, which itself costs a little")
	built = flag.String("binary", "", "a built gatehouse to measure instead of this source's")
)

func TestMain(m *testing.M) {
	flag.Parse()
	prebuilt = *built
	if *measure || *only != "" {
		// A server as it runs in production after its first minute, without waiting for the disk.
		settings := []string{"autovacuum=on", "autovacuum_naptime=10", "synchronous_commit=on", "wal_level=replica"}
		if *statements {
			settings = append(settings, "shared_preload_libraries=pg_stat_statements",
				"pg_stat_statements.track_planning=on")
		}
		testkit.OwnServer(settings...)
	}
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

// TestMeasure prints the table of docs/benchmarks.md. Without -measure it sends a handful of
// requests and asserts nothing about time.
func TestMeasure(t *testing.T) {
	sz := smoke
	if *measure {
		sz = full
		sz.Tenants, sz.Requests, sz.Repeat, sz.Age = *tenants, *requests, *repeats, *age
	}
	if *only != "" {
		wanted, err := regexp.Compile(*only)
		if err != nil {
			t.Fatal(err)
		}
		if err := measureOnly(t, func() string { return testkit.EmptyPostgres(t) }, sz, wanted); err != nil {
			t.Fatal(err)
		}
		return
	}
	r, err := measureAll(t, func() string { return testkit.EmptyPostgres(t) }, sz)
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	r.write(&table)
	for _, want := range []string{"client credentials", "opaque", "introspection", "session check", "userinfo",
		"refresh at age 1,", "code exchange", "sign-in", "discovery", "JWKS", "bare key read", "idle memory"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table has no row for %s", want)
		}
	}
	// If requests are rare, the access record of each is written alone, and what the server asks
	// every second counts too.
	most := map[string]float64{"refresh": 2.5, "introspection": 1.5, "session check": 1.5, "userinfo": 1.5,
		"client credentials, opaque": 1.5, "code exchange": 2.5}
	for _, l := range r.Few {
		for name, trips := range most {
			if !*measure {
				trips += 0.4
			}
			if strings.HasPrefix(l.Name, name) && l.Trips > trips {
				t.Errorf("%s takes %.2f round trips to Postgres; at most %.1f are allowed", l.Name, l.Trips, trips)
			}
		}
		if strings.HasPrefix(l.Name, "refresh") && l.Database.Rows["refresh_tokens"] != 0 {
			t.Errorf("%d refreshes leave %d rows behind", l.Requests, l.Database.Rows["refresh_tokens"])
		}
	}
	if !*measure {
		return
	}
	t.Logf("\n%s", table.String())
	if *output != "" {
		if err := os.WriteFile(*output, table.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScannerCountsRoundTrips(t *testing.T) {
	message := func(kind byte, body string) []byte {
		b := []byte{kind}
		b = binary.BigEndian.AppendUint32(b, uint32(len(body)+4))
		return append(b, body...)
	}
	startup := binary.BigEndian.AppendUint32(nil, 12)
	startup = append(startup, "SSSSQQQQ"...) // a body is never mistaken for a message
	stream := bytes.Join([][]byte{
		startup, message('Q', "BEGIN"), message('B', "SSS"), message('E', ""), message('S', ""),
		message('P', "SELECT 'S'"), message('D', ""), message('S', ""), // preparing is not counted
	}, nil)
	for chunk := 1; chunk <= len(stream); chunk++ {
		var s scanner
		var trips int64
		for rest := stream; len(rest) > 0; {
			n := min(chunk, len(rest))
			trips += s.feed(rest[:n])
			rest = rest[n:]
		}
		if trips != 2 {
			t.Fatalf("in pieces of %d bytes: %d round trips, want 2", chunk, trips)
		}
	}
}

func TestCPUTimeOfThisProcess(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// Until the kernel has counted three ticks of work, however long that takes.
	for spent := before; spent < before+30*time.Millisecond; {
		for i := range 1_000_000 {
			_ = i * i
		}
		if spent, err = cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := residentMemory(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("resident memory %d, %v", n, err)
	}
}
