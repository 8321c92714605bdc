package app

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mounted ConfigMap is a directory of links to a hidden directory.
func TestLinkedDirectoriesAreRead(t *testing.T) {
	root := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "..2026", "sub"), 0o755))
	must(os.WriteFile(filepath.Join(root, "..2026", "a.yaml"), []byte("a: 1\n"), 0o644))
	must(os.WriteFile(filepath.Join(root, "..2026", "sub", "b.yaml"), []byte("b: 1\n"), 0o644))
	must(os.Symlink("..2026", filepath.Join(root, "..data")))
	must(os.Symlink("..data/a.yaml", filepath.Join(root, "a.yaml")))
	must(os.Symlink("..data/sub", filepath.Join(root, "sub")))
	must(os.WriteFile(filepath.Join(root, ".hidden.yaml"), []byte("apiVersion: api.cerbos.dev/v1\n"), 0o644))
	var warnings bytes.Buffer
	e := &env{err: &warnings}
	files, err := readPolicies(e, root)
	if err != nil || len(files) != 2 || string(files["a.yaml"]) != "a: 1\n" || string(files["sub/b.yaml"]) != "b: 1\n" {
		t.Errorf("%v %v", files, err)
	}
	if !strings.Contains(warnings.String(), ".hidden.yaml") {
		t.Errorf("a hidden policy is not named: %q", warnings.String())
	}
	must(os.Symlink("..", filepath.Join(root, "..2026", "sub", "up")))
	if _, err := readPolicies(e, root); err == nil {
		t.Error("a link to a directory around it")
	}
}

func TestCommandsWaitAsTheServerAsks(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := new(bytes.Buffer)
		_, _ = body.ReadFrom(r.Body)
		if asked++; asked == 1 || body.String() != "text" {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL, strings.NewReader("text"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := patient(r)
	if err != nil || res.StatusCode != 200 || asked != 2 {
		t.Errorf("%v %v after %d requests", res, err, asked)
	}
}
