package testkit

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// PgBouncer starts PgBouncer in transaction mode in front of dsn's server, with the given number of
// connections to it, and returns dsn through it. It ends with the test.
func PgBouncer(t testing.TB, dsn string, size int) string {
	t.Helper()
	program := "/usr/sbin/pgbouncer"
	if found, err := exec.LookPath("pgbouncer"); err == nil {
		program = found
	}
	attr, uid, gid, err := unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "gatehouse-pgbouncer-") // not t.TempDir, which only this user may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	address := FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	for name, text := range map[string]string{
		"users": fmt.Sprintf("%q %q\n", u.User.Username(), password),
		"ini": fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\n"+
			"auth_type = trust\nauth_file = %[4]s/users\npool_mode = transaction\nlogfile = %[4]s/log\n"+
			"unix_socket_dir =\ndefault_pool_size = %[5]d\n", u.Hostname(), u.Port(), port, dir, size),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-q", filepath.Join(dir, "ini"))
	cmd.Dir, cmd.SysProcAttr = dir, attr
	if err := cmd.Start(); err != nil {
		t.Fatalf("no PgBouncer for the tests: %v\nInstall it (Debian: apt-get install pgbouncer).", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	u.Host = address
	Eventually(t, "PgBouncer answers", func() bool { return alive(u.String()) })
	return u.String()
}
