// Package cerbos runs a real Cerbos server of the version that go.mod names, for tests that compare
// with it. The server ends with the test.
//
// The program is Cerbos' own release from e2e/package.json. On machines without a release it is
// built from the module e2e/cerbos, which shares no dependencies with ours. It runs without the
// race detector and logs a line for each request, as its users run it.
package cerbos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// Version is the release, as the server reports it.
const Version = "0.55.0"

var build struct {
	sync.Once
	path string
	err  error
}

// Build returns the path of the cerbos program, bin/cerbos. It copies or builds the program unless
// it is current. The first build on a machine takes minutes, every other one a second.
func Build(t testing.TB) string {
	t.Helper()
	testkit.SkipFast(t, "a Cerbos server")
	root := process.Root(t)
	build.Do(func() {
		build.path = filepath.Join(root, "bin", "cerbos")
		build.err = compile(root, build.path)
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

func compile(root, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// Several test processes may want it at once. One builds, the others then find it current.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	cmd := exec.Command("make", "--no-print-directory", "bin/cerbos")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make bin/cerbos: %w\n%s", err, out)
	}
	return nil
}

// Config configures the start of the server.
type Config struct {
	Policies string         // directory with the policies, which the server reads once
	Settings map[string]any // more sections of Cerbos' configuration file, such as "engine"
	Env      []string       // more environment, such as GOMAXPROCS=1
}

// Server is a running Cerbos.
type Server struct {
	HTTP string // base, such as http://127.0.0.1:40123
	GRPC string // address, such as 127.0.0.1:40124
	// Ready is the time from starting the process to its first healthy answer.
	Ready time.Duration

	cmd     *exec.Cmd
	gone    chan error
	log     string
	program string
	config  string // path
	began   time.Time
	env     []string
}

// readyWithin bounds the start: a thousand policies compiled on a loaded machine.
const readyWithin = 5 * time.Minute

// Start runs `cerbos server` and returns when it answers.
func Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	program := Build(t)
	// Another process may take a free port before the server has it. Then the next try uses other
	// ports.
	for attempt := 1; ; attempt++ {
		s, err := start(t, program, cfg)
		if err == nil {
			return s
		}
		if attempt == 3 || !errors.Is(err, errEnded) {
			t.Fatalf("cerbos server: %v", err)
		}
	}
}

var errEnded = errors.New("the process ended before it was ready")

func start(t testing.TB, program string, cfg Config) (*Server, error) {
	dir := t.TempDir()
	http, grpc := testkit.FreeAddress(t), testkit.FreeAddress(t)
	s := &Server{HTTP: "http://" + http, GRPC: grpc, log: filepath.Join(dir, "server.log")}
	config := map[string]any{
		"server": map[string]any{"httpListenAddr": http, "grpcListenAddr": grpc},
		"storage": map[string]any{"driver": "disk",
			"disk": map[string]any{"directory": cfg.Policies, "watchForChanges": false}},
		"telemetry": map[string]any{"disabled": true},
	}
	for section, value := range cfg.Settings {
		config[section] = value
	}
	text, err := json.Marshal(config) // JSON is YAML
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "cerbos.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	s.program, s.config, s.env = program, file, cfg.Env
	if err := s.run(); err != nil {
		return nil, err
	}
	t.Cleanup(s.Kill)
	return s, s.wait()
}

func (s *Server) run() error {
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	s.cmd = exec.Command(s.program, "server", "--config", s.config)
	s.cmd.Dir = filepath.Dir(s.config)
	s.cmd.Env = append(append(os.Environ(), "CERBOS_NO_TELEMETRY=1"), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	// The server dies with this process, even if this process is killed.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.began, s.gone = time.Now(), make(chan error, 1)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, gone := s.cmd, s.gone
	go func() { gone <- cmd.Wait(); close(gone) }()
	return nil
}

func (s *Server) wait() error {
	client := &http.Client{Timeout: 5 * time.Second}
	for time.Since(s.began) < readyWithin {
		select {
		case err := <-s.gone:
			return fmt.Errorf("%w: %w\n%s", errEnded, err, s.logged())
		default:
		}
		if res, err := client.Get(s.HTTP + "/_cerbos/health"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				s.Ready = time.Since(s.began)
				return nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("not ready within %s\n%s", readyWithin, s.logged())
}

// PID returns the process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the process and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.gone
}

// logged returns the end of what the process wrote.
func (s *Server) logged() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-6000):])
}
