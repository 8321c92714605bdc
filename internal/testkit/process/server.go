package process

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// Config configures the start of the binary.
type Config struct {
	Database string   // a Postgres DSN; empty means SQLite in Data
	Data     string   // directory of SQLite and development keys; empty means a temporary one
	Env      []string // more environment, such as GOMAXPROCS=1
	Binary   string   // path of a built binary; empty builds cmd/gatehouse
	Plain    bool     // run the build without the race detector, if make check has made one
	TLS      bool     // serve https, with a certificate that signs itself
	Client   string   // first-start machine application of the platform tenant; empty makes one
	Secret   string
}

// Server is a running gatehouse.
type Server struct {
	URL  string // public base, such as http://127.0.0.1:40123
	Ops  string // base of the ops listener
	GRPC string // address of the decision API over gRPC
	// Client and Secret are the platform tenant's machine application with the role owner.
	Client, Secret string
	// Certificate is the PEM file that a client of a server with TLS must trust.
	Certificate string
	// Ready is the time from starting the process to its first ready answer.
	Ready time.Duration

	cfg    Config
	key    string // of Certificate
	listen [3]string
	cmd    *exec.Cmd
	log    string
	gone   chan error
}

// readyWithin bounds the start. Migrations take long on a loaded machine under the race detector.
const readyWithin = 2 * time.Minute

// Start runs `gatehouse serve` and returns when it is ready.
func Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	testkit.SkipFast(t, "a running server")
	switch {
	case cfg.Binary != "":
	case cfg.Plain:
		cfg.Binary = Plain(t)
	default:
		cfg.Binary = Build(t, "cmd/gatehouse")
	}
	if cfg.Data == "" {
		cfg.Data = t.TempDir()
	}
	if cfg.Client == "" {
		cfg.Client, cfg.Secret = "operator", rand.Text()+rand.Text()
	}
	s := &Server{cfg: cfg, Client: cfg.Client, Secret: cfg.Secret, log: filepath.Join(cfg.Data, "server.log")}
	if cfg.TLS {
		s.Certificate, s.key = certify(t, cfg.Data)
	}
	s.begin(t)
	return s
}

// Replica starts another process on the server's Postgres database. It serves the same public URL
// on addresses of its own.
func (s *Server) Replica(t testing.TB) *Server {
	t.Helper()
	r := &Server{cfg: s.cfg, Client: s.Client, Secret: s.Secret, log: filepath.Join(s.cfg.Data, "replica.log")}
	r.cfg.Env = append(slices.Clip(s.cfg.Env), "GATEHOUSE_PUBLIC_URL="+s.URL)
	r.begin(t)
	return r
}

// begin starts the process on free addresses and ends it with the test.
func (s *Server) begin(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		s.Kill()
		if race := s.race(); race != "" {
			t.Errorf("the race detector reported to the server's log:\n%s", race)
		}
		if t.Failed() {
			t.Logf("the server's log ends:\n%s", s.logTail(maxReport))
		}
	})
	// Another process may take a free port before the server has it. Then the next try uses other
	// ports.
	for attempt := 1; ; attempt++ {
		s.listen = [3]string{testkit.FreeAddress(t), testkit.FreeAddress(t), testkit.FreeAddress(t)}
		err := s.start()
		if err == nil {
			return
		}
		if attempt == 3 || !strings.Contains(s.logTail(4000), "address already in use") {
			t.Fatalf("gatehouse serve: %v\n%s", err, s.logTail(maxReport))
		}
	}
}

// Restart starts the server again after Kill, on the same addresses and data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		t.Fatalf("gatehouse serve, again: %v\n%s", err, s.logTail(maxReport))
	}
}

func (s *Server) start() error {
	s.URL, s.Ops, s.GRPC = "http://"+s.listen[0], "http://"+s.listen[1], s.listen[2]
	args := []string{"serve", "--listen", s.listen[0], "--ops-listen", s.listen[1], "--grpc-listen", s.listen[2],
		"--data", s.cfg.Data}
	if s.Certificate != "" {
		s.URL = "https://" + s.listen[0]
		args = append(args, "--tls-cert", s.Certificate, "--tls-key", s.key)
	}
	if s.cfg.Database != "" {
		args = append(args, "--database", s.cfg.Database)
	}
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	s.cmd = exec.Command(s.cfg.Binary, args...)
	s.cmd.Dir = s.cfg.Data
	s.cmd.Env = append(environment(),
		"GATEHOUSE_PUBLIC_URL="+s.URL, "GATEHOUSE_ADMIN_CLIENT_ID="+s.Client, "GATEHOUSE_ADMIN_CLIENT_SECRET="+s.Secret)
	s.cmd.Env = append(s.cmd.Env, s.cfg.Env...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	// The server dies with this process, even if this process is killed.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.gone = make(chan error, 1)
	go func(cmd *exec.Cmd, gone chan error) { gone <- cmd.Wait(); close(gone) }(s.cmd, s.gone)

	client := &http.Client{Timeout: 5 * time.Second}
	for time.Since(began) < readyWithin {
		select {
		case err := <-s.gone:
			return fmt.Errorf("ended before it was ready: %w",
				errors.Join(err, errors.New(s.cmd.ProcessState.String())))
		default:
		}
		if res, err := client.Get(s.Ops + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				s.Ready = time.Since(began)
				return nil
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.Join(fmt.Errorf("not ready within %s", readyWithin), s.cmd.Process.Kill())
}

// environment is ours without the developer's GATEHOUSE_ settings, but with those for tests. The
// settings of the collector are the test's own.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, "GATEHOUSE_") && !strings.HasPrefix(name, "GATEHOUSE_TEST_") ||
			name == "GOGC" || name == "GOMEMLIMIT"
	})
}

// PID returns the process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the process with SIGKILL, as a power cut would, and waits until it is gone.
func (s *Server) Kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.gone
}

// maxReport bounds what a failed test shows of a log, in bytes.
const maxReport = 6000

// race returns what the race detector wrote to the server's log, and "" for nothing. It ends no
// server, and a killed one has no exit code.
func (s *Server) race() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return ""
	}
	_, report, found := bytes.Cut(b, []byte("WARNING: DATA RACE"))
	if !found {
		return ""
	}
	return string(report[:min(len(report), maxReport)])
}

// logTail returns the end of what the process wrote, at most limit bytes.
func (s *Server) logTail(limit int) string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	if len(b) > limit {
		b = b[len(b)-limit:]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return string(b)
}
