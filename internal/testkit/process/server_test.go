package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRaceReport reads a server's log. Without it, the server of TestKill would run with the race
// detector for nothing: the server continues after a report, and is killed in the end.
func TestRaceReport(t *testing.T) {
	const before, report = "level=INFO msg=serving\n==================\n", "\nWrite at 0x00c0 by goroutine 7:\n"
	s := &Server{log: filepath.Join(t.TempDir(), "server.log")}
	if got := s.race(); got != "" {
		t.Errorf("a server without a log: %q", got)
	}
	filler := strings.Repeat("x", maxReport)
	for log, want := range map[string]string{
		before:                                 "",
		before + "WARNING: DATA RACE" + report: report,
		before + "WARNING: DATA RACE" + report + filler: (report + filler)[:maxReport],
	} {
		if err := os.WriteFile(s.log, []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := s.race(); got != want {
			t.Errorf("%.80q: %d bytes, want %d", log, len(got), len(want))
		}
	}
}
