package e2e

import (
	"errors"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// TestFullDisk lets the process write to no file, its own log included, and then again. Meanwhile
// it reads, refuses each write with "try again", and is not ready. What it refused is not stored.
func TestFullDisk(t *testing.T) {
	server := process.Start(t, process.Config{Plain: true})
	o := server.Operator()
	user := map[string]any{"email": "ada@example.com"}
	o.MustCall(t, "POST", "platform", "/users", map[string]any{"email": "before@example.com"}, nil)
	allow := func(bytes string) {
		t.Helper()
		cmd := exec.Command("prlimit", "--pid", strconv.Itoa(server.PID()), "--fsize="+bytes+":unlimited")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("prlimit (Debian: apt-get install util-linux): %v %s", err, out)
		}
	}
	status := func(address string) int {
		t.Helper()
		res, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	allow("0")
	for range 3 {
		refusal, ok := errors.AsType[*process.Refusal](o.Call("POST", "platform", "/users", user, nil))
		if !ok || refusal.Status != http.StatusServiceUnavailable || refusal.After == "" ||
			!strings.Contains(refusal.Body, "database.unavailable") {
			t.Errorf("a write: %+v", refusal)
		}
		if code := status(server.Ops + "/readyz"); code != http.StatusServiceUnavailable {
			t.Errorf("ready on a full disk: %d", code)
		}
		if code := status(server.URL + "/t/platform/.well-known/openid-configuration"); code != http.StatusOK {
			t.Errorf("a read: %d", code)
		}
	}
	allow("unlimited")
	testkit.Eventually(t, "the server is ready again", func() bool {
		return status(server.Ops+"/readyz") == http.StatusOK
	})
	o.MustCall(t, "POST", "platform", "/users", user, nil)
}
