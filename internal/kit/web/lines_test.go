package web

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A gathered line reads like the one that slog writes when nothing is gathered.
func TestLinesReadLikeSlog(t *testing.T) {
	for _, n := range []line{{
		at: time.Date(2026, 11, 24, 3, 4, 5, 678_000_000, time.UTC), route: "GET /users/{id}", method: "GET",
		status: 404,
		took:   1234 * time.Microsecond, bytes: 17, tenant: "acme", address: netip.MustParseAddr("2001:db8::1"),
		requestID: "abc234",
	}, {
		at: time.Date(2026, 11, 24, 3, 4, 5, 0, time.UTC), route: "unmatched", method: "other", status: 405, took: 0,
		tenant: "", address: netip.MustParseAddr("192.0.2.1"), requestID: "abc234",
	}} {
		linesReadLikeSlog(t, n)
	}
}

func linesReadLikeSlog(t *testing.T, n line) {
	attrs := []slog.Attr{
		slog.String("route", n.route), slog.String("method", n.method), slog.Int("status", n.status),
		slog.Duration("took", n.took),
		slog.Int64("bytes", n.bytes), slog.String("tenant", n.tenant), slog.String("address", n.address.String()),
		slog.String("request_id", n.requestID),
	}
	for name, format := range map[string]struct {
		handler func(io.Writer) slog.Handler
		json    bool
	}{
		"json": {func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) }, true},
		"text": {func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }, false},
	} {
		var want, got bytes.Buffer
		record := slog.NewRecord(n.at, slog.LevelInfo, "request", 0)
		record.AddAttrs(attrs...)
		if err := format.handler(&want).Handle(context.Background(), record); err != nil {
			t.Fatal(err)
		}
		lines := NewLines(&got, format.json)
		lines.add(n)
		lines.Close()
		if got.String() != want.String() {
			t.Errorf("%s:\n%swant\n%s", name, got.String(), want.String())
		}
	}
}

// writes counts what reaches the log.
type writes struct {
	mu    sync.Mutex
	count int
	text  strings.Builder
}

func (w *writes) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	return w.text.Write(b)
}

func TestLinesAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w writes
		lines := NewLines(&w, true)
		for range 3 {
			lines.add(line{})
		}
		time.Sleep(gatherFor)
		synctest.Wait()
		if got := strings.Count(w.text.String(), "\n"); w.count != 1 || got != 3 {
			t.Errorf("%d lines in %d writes, want 3 in 1", got, w.count)
		}
		lines.add(line{})
		time.Sleep(gatherFor)
		synctest.Wait()
		if w.count != 2 {
			t.Errorf("%d writes: the line after a pause was not written", w.count)
		}
		for w.count == 2 { // many at once do not wait, and do not fill the memory
			lines.add(line{})
		}
		lines.add(line{})
		lines.Close()
		if w.count != 4 {
			t.Errorf("%d writes: Close did not write the rest", w.count)
		}
	})
}
