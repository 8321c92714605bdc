package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sample is the effect of one load on the server.
type sample struct {
	Requests int
	Elapsed  time.Duration
	CPU      time.Duration // user and system time of the server process
	Database spent
	P50, P99 time.Duration
}

func (s sample) perSecond() float64 { return float64(s.Requests) / s.Elapsed.Seconds() }

// microseconds returns the server's CPU time for one request.
func (s sample) microseconds() float64 { return s.each(s.CPU) }

// database returns Postgres' CPU time for one request, in microseconds.
func (s sample) database() float64 { return s.each(s.Database.CPU) }

// total returns both, in microseconds.
func (s sample) total() float64 { return s.each(s.CPU + s.Database.CPU) }

func (s sample) each(d time.Duration) float64 { return float64(d.Microseconds()) / float64(s.Requests) }

// load runs op total times on workers connections and reads pid's CPU time around it. It waits for
// work that the server does a little later, such as records written in batches, and counts that
// too.
func load(pid, workers, total int, op func(worker, i int) error) (sample, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return sample{}, err
	}
	var (
		next   atomic.Int64
		wait   sync.WaitGroup
		took   = make([][]time.Duration, workers)
		failed = make([]error, workers)
		began  = time.Now()
	)
	for w := range workers {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= total {
					return
				}
				start := time.Now()
				if err := op(w, i); err != nil {
					failed[w] = fmt.Errorf("request %d: %w", i, err)
					next.Store(int64(total))
					return
				}
				took[w] = append(took[w], time.Since(start))
			}
		})
	}
	wait.Wait()
	elapsed := time.Since(began)
	if err := errors.Join(failed...); err != nil {
		return sample{}, err
	}
	time.Sleep(settle)
	after, err := cpuTime(pid)
	if err != nil {
		return sample{}, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return sample{Requests: len(all), Elapsed: elapsed, CPU: after - before, P50: all[len(all)/2],
		P99: all[len(all)*99/100]}, nil
}

// settle is longer than the server keeps records before it writes them.
const settle = 300 * time.Millisecond

// cpuTime returns the user and system time of a process.
func cpuTime(pid int) (time.Duration, error) {
	p, err := readProcess(pid)
	return p.cpu, err
}

// processStat is what /proc/PID/stat says, in the kernel's ticks of 10 ms.
type processStat struct {
	parent        int
	cpu, children time.Duration // user and system time; of children only those that have ended
}

func readProcess(pid int) (processStat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return processStat{}, err
	}
	// The second field, the program's name in parentheses, may hold spaces. The 4th is the parent,
	// the 14th to 17th are utime, stime, cutime and cstime.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 15 {
		return processStat{}, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	var n [5]int64
	for i, f := range []string{fields[1], fields[11], fields[12], fields[13], fields[14]} {
		if n[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return processStat{}, err
		}
	}
	const tick = 10 * time.Millisecond
	return processStat{parent: int(n[0]), cpu: time.Duration(n[1]+n[2]) * tick,
		children: time.Duration(n[3]+n[4]) * tick}, nil
}

// residentMemory returns VmRSS of /proc/PID/status in bytes.
func residentMemory(pid int) (int64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/PID/status")
}

// connection is a kept-alive HTTP/1.1 connection that sends prepared bytes. It is cheap, because it
// shares the machine with the server.
type connection struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

// roundTrip sends request and returns the answer's body. Another status than want is an error.
func (c *connection) roundTrip(request []byte, want int) ([]byte, error) {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, 5*time.Second)
		if err != nil {
			return nil, err
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.Close {
		_ = c.conn.Close()
		c.conn = nil
	}
	if res.StatusCode != want {
		return nil, fmt.Errorf("status %d: %.500s", res.StatusCode, body)
	}
	return body, nil
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
}
