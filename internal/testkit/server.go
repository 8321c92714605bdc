package testkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// One Postgres server is shared by all test processes of a user. Each process holds a shared lock
// on a file while it lives. A supervisor, which is this same binary started again, waits for the
// exclusive lock. Then it stops the server and removes its directory, so that a killed test run
// leaves nothing behind.

const (
	superviseEnv = "GATEHOUSE_TESTKIT_SUPERVISE"
	dataEnv      = "GATEHOUSE_TESTKIT_DATA"
	settingsEnv  = "GATEHOUSE_TESTKIT_SETTINGS" // of a server that one process alone uses, a line each
)

// own are the settings of a server that this process alone uses; nil for the shared one.
var own []string

// OwnServer starts a Postgres server for this process alone, with more settings (name=value) than
// those of the tests. It is for measurements, and comes before the first database.
func OwnServer(settings ...string) { own = append([]string{}, settings...) }

func init() {
	if dir := os.Getenv(superviseEnv); dir != "" {
		if err := supervise(dir, os.Getenv(dataEnv)); err != nil {
			fmt.Fprintln(os.Stderr, "testkit:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// usage is held open, locked and shared, until this process ends.
var usage *os.File

func startServer() (string, error) {
	base := filepath.Join(os.TempDir(), fmt.Sprintf("gatehouse-test-postgres-%d", os.Getuid()))
	if own != nil {
		base += "-" + strconv.Itoa(os.Getpid())
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	start, err := os.OpenFile(filepath.Join(base, "start.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = start.Close() }()
	if err := syscall.Flock(int(start.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if usage, err = os.OpenFile(filepath.Join(base, "usage.lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return "", err
	}
	if err := syscall.Flock(int(usage.Fd()), syscall.LOCK_SH); err != nil {
		return "", err
	}
	urlFile := filepath.Join(base, "url")
	if b, err := os.ReadFile(urlFile); err == nil && alive(string(b)) {
		return string(b), nil
	}
	_ = os.Remove(urlFile)
	if _, err := binary("initdb"); err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	log, err := os.Create(filepath.Join(base, "log"))
	if err != nil {
		return "", err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), superviseEnv+"="+base, dataEnv+"="+dataDirectory(base),
		settingsEnv+"="+strings.Join(own, "\n"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if b, err := os.ReadFile(urlFile); err == nil && alive(string(b)) {
			return string(b), nil
		}
		select {
		case <-gone:
			b, _ := os.ReadFile(log.Name())
			return "", fmt.Errorf("the server did not start: %s", b)
		default:
		}
	}
	return "", fmt.Errorf("the server did not start within 90 s; see %s", log.Name())
}

func alive(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, strings.TrimSpace(url))
	if err != nil {
		return false
	}
	_ = conn.Close(ctx)
	return true
}

// dataDirectory returns the directory of the server's data. That of the shared server is in memory
// when the machine has a file system there with enough room. The files of each test's database come
// and go, which costs a disk's file system more than all queries.
func dataDirectory(base string) string {
	const memory, enough = "/dev/shm", 2 << 30 // bytes
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); own != nil || err != nil || int64(fs.Bavail)*int64(fs.Bsize) < enough {
		return filepath.Join(base, "data")
	}
	return filepath.Join(memory, strings.ReplaceAll(strings.Trim(base, "/"), "/", "-"))
}

// supervise runs the server on a data directory until no test process uses it.
func supervise(base, data string) error {
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	attr, uid, gid, err := unprivileged()
	if err != nil {
		return err
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if err := os.Chown(data, uid, gid); err != nil {
		return err
	}
	initdb, err := binary("initdb")
	if err != nil {
		return err
	}
	cmd := exec.Command(initdb, "-D", data, "-U", "gatehouse_owner", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = data, attr, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	server, err := binary("postgres")
	if err != nil {
		return err
	}
	args := []string{"-D", data, "-p", strconv.Itoa(port), "-h", "127.0.0.1", "-k", "",
		// Tests end processes, never the machine, so that the disk may lag behind.
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off",
		"-c", "max_connections=300", "-c", "shared_buffers=128MB", "-c", "autovacuum=off", "-c", "max_wal_size=256MB",
		"-c", "wal_level=minimal", "-c", "max_wal_senders=0"}
	settings := strings.Fields(os.Getenv(settingsEnv))
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	cmd = exec.Command(server, args...)
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = data, attr, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	url := fmt.Sprintf("postgres://gatehouse_owner@127.0.0.1:%d/postgres?sslmode=disable", port)
	for range 600 {
		if alive(url) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	urlFile := filepath.Join(base, "url")
	if err := os.WriteFile(urlFile, []byte(url), 0o600); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	lock, err := os.OpenFile(filepath.Join(base, "usage.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	for {
		time.Sleep(2 * time.Second)
		// The start lock keeps a new process from taking the URL while we stop.
		start, err := os.OpenFile(filepath.Join(base, "start.lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return errors.Join(err, cmd.Process.Kill())
		}
		if syscall.Flock(int(start.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil &&
			syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.Remove(urlFile)
			_ = cmd.Process.Signal(syscall.SIGINT) // fast shutdown
			err := cmd.Wait()
			_ = os.RemoveAll(data)
			if len(settings) > 0 {
				_ = os.RemoveAll(base)
			}
			return err
		}
		_ = start.Close()
	}
}

// unprivileged returns how to run Postgres, which refuses to run as root.
func unprivileged() (*syscall.SysProcAttr, int, int, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, os.Getuid(), os.Getgid(), nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, uid, gid, nil
	}
	return nil, 0, 0, errors.New("running as root: create a user postgres to run the server as")
}

func binary(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	return "", errNoBinaries
}
