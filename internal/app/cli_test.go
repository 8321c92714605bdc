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

// TestDemoSaysWhatIsTrue runs the demo, changes a password, and runs it again.
func TestDemoSaysWhatIsTrue(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	run := func(args ...string) string {
		t.Helper()
		var out, errors bytes.Buffer
		if code := Main(append(args, "--data", data), nil, &out, &errors); code != 0 {
			t.Fatalf("%v: exit code %d\n%s", args, code, errors.String())
		}
		return out.String()
	}
	const all, settings = "The password of all of them:  " + demoPassword, "Acme asks for a second factor"
	if first := run("demo"); !strings.Contains(first, all) || !strings.Contains(first, settings) {
		t.Errorf("the first run says:\n%s", first)
	}
	run("admin", "reset-owner", "--email", "olga@platform.example")
	second := run("demo")
	if strings.Contains(second, all) || !strings.Contains(second, "unless you have changed it:  "+demoPassword) {
		t.Errorf("after a change of a password it says:\n%s", second)
	}
}

// TestFieldsReasonIsPrintedOnce gives the command line a value that is wrong.
func TestFieldsReasonIsPrintedOnce(t *testing.T) {
	t.Parallel()
	var out, errors bytes.Buffer
	code := Main([]string{"admin", "reset-owner", "--create", "--email", "foo", "--data",
		filepath.Join(t.TempDir(), "data")}, nil, &out, &errors)
	if n := strings.Count(errors.String(), "email address"); code != exitFailed || n != 1 {
		t.Errorf("exit code %d, the reason is printed %d times:\n%s", code, n, errors.String())
	}
}

// TestUsageErrorNamesTheHelp gives commands an unknown flag or too few arguments.
func TestUsageErrorNamesTheHelp(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"policy export":              "Run gatehouse policy export --help",
		"admin reset-owner --nope=1": "Run gatehouse admin reset-owner --help",
		"--nope":                     "Run gatehouse --help",
	} {
		var out, errors bytes.Buffer
		code := Main(strings.Fields(line), nil, &out, &errors)
		if code != exitUsage || !strings.Contains(errors.String(), want) {
			t.Errorf("%s: exit code %d\n%s", line, code, errors.String())
		}
	}
}

// TestMistakesAreNamed gives commands a path, a server and a directory that cannot be right.
func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	ended := httptest.NewServer(nil)
	ended.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	credentials := " --client-id x --client-secret y"
	proxy := "pdp-proxy --url " + elsewhere.URL
	for line, want := range map[string][]string{
		"policy validate /nope": {"there is no /nope: name a directory"},
		"policy diff --token x --url " + ended.URL + "/t/acme": {"no answer from " + ended.URL + "/t/acme",
			"--url", "Start the server"},
		"policy diff --url " + ended.URL + "/t/acme" + credentials: {
			"no answer from " + ended.URL + "/t/acme", "--url"},
		"policy diff --token x --url " + elsewhere.URL:             {"names no tenant", elsewhere.URL + "/t/acme"},
		"policy diff --url " + elsewhere.URL + "/" + credentials:   {"names no tenant", elsewhere.URL + "/t/acme"},
		"policy diff --token x --url " + elsewhere.URL + "/t/acme": {"Is --url the tenant's issuer?"},
		"serve --data " + file:                                     {"data (--data): " + file + " is not a directory"},
		"doctor --data " + file + "/below": {
			"data (--data): " + file + "/below is not a directory"},
		"pdp-proxy --client-id x": {"--url or GATEHOUSE_URL"},
		proxy:                     {"--client-id", "--client-secret-file"},
		proxy + " --client-id x --client-secret-file /nope": {"--client-secret-file"},
	} {
		var out bytes.Buffer
		code := Main(strings.Fields(line), nil, &out, &out)
		for _, words := range want {
			if code == 0 || !strings.Contains(out.String(), words) {
				t.Errorf("%s: exit code %d, want %q:\n%s", line, code, words, out.String())
			}
		}
	}
}
