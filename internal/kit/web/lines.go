package web

import (
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// gatherFor is how long a line waits at most to be written together with others.
const gatherFor = 25 * time.Millisecond

// gatherBytes is the size of gathered lines, in bytes, from which they are written at once.
const gatherBytes = 32 << 10

// Lines writes the log lines of successful requests, many in one write: a write costs more than a
// line. A process that is killed loses the lines of its last gatherFor. Failures never wait here,
// and audit events and access records are not log lines. It is safe for concurrent use.
type Lines struct {
	w    io.Writer
	json bool

	mu    sync.Mutex
	buf   []byte
	timer *time.Timer
}

// NewLines writes to w, in the words of slog's JSON or text handler; Close ends it.
func NewLines(w io.Writer, json bool) *Lines {
	l := &Lines{w: w, json: json}
	l.timer = time.AfterFunc(time.Hour, l.flush)
	l.timer.Stop()
	return l
}

// Close writes what was gathered.
func (l *Lines) Close() {
	l.timer.Stop()
	l.flush()
}

func (l *Lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
}

func (l *Lines) write() {
	if len(l.buf) == 0 {
		return
	}
	_, _ = l.w.Write(l.buf) // there is nowhere to say that the log cannot be written
	l.buf = l.buf[:0]
}

func (l *Lines) add(n line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) == 0 {
		l.timer.Reset(gatherFor)
	}
	if l.json {
		l.buf = n.appendJSON(l.buf)
	} else {
		l.buf = n.appendText(l.buf)
	}
	if len(l.buf) >= gatherBytes {
		l.write()
	}
}

// line is the log line of one request. Its texts are ours or from closed sets: the matched pattern,
// never the path, which may hold secrets.
type line struct {
	at            time.Time
	route, method string
	status        int
	took          time.Duration
	bytes         int64
	tenant        string
	address       netip.Addr
	requestID     string
}

func (n *line) appendJSON(b []byte) []byte {
	b = n.at.AppendFormat(append(b, `{"time":"`...), time.RFC3339Nano)
	b = strconv.AppendQuote(append(b, `","level":"INFO","msg":"request","route":`...), n.route)
	b = append(append(b, `,"method":"`...), n.method...)
	b = strconv.AppendInt(append(b, `","status":`...), int64(n.status), 10)
	b = strconv.AppendInt(append(b, `,"took":`...), int64(n.took), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), n.bytes, 10)
	b = append(append(b, `,"tenant":"`...), n.tenant...)
	b = n.address.AppendTo(append(b, `","address":"`...))
	b = append(append(b, `","request_id":"`...), n.requestID...)
	return append(b, "\"}\n"...)
}

func (n *line) appendText(b []byte) []byte {
	b = n.at.AppendFormat(append(b, "time="...), "2006-01-02T15:04:05.000Z07:00")
	b = appendWord(append(b, " level=INFO msg=request route="...), n.route)
	b = append(append(b, " method="...), n.method...)
	b = strconv.AppendInt(append(b, " status="...), int64(n.status), 10)
	b = append(append(b, " took="...), n.took.String()...)
	b = strconv.AppendInt(append(b, " bytes="...), n.bytes, 10)
	b = appendWord(append(b, " tenant="...), n.tenant)
	b = n.address.AppendTo(append(b, " address="...))
	b = append(append(b, " request_id="...), n.requestID...)
	return append(b, '\n')
}

func appendWord(b []byte, s string) []byte {
	if s == "" || strings.IndexByte(s, ' ') >= 0 {
		return strconv.AppendQuote(b, s)
	}
	return append(b, s...)
}
