package e2e

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/cerbos/cerbos-sdk-go/cerbos"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// TestHostileTenant lets one tenant upload and ask the worst, while another tenant's checks
// continue.
//
// Each of those checks must be answered correctly. How soon is not asserted, because the machine is
// shared. The uploads must be refused with a sentence, never with a fault of the server. Its bounds
// were measured without the race detector, so it runs without.
func TestHostileTenant(t *testing.T) {
	t.Parallel()
	server := process.Start(t, process.Config{Plain: true})
	o := server.Operator()
	o.MustCall(t, "POST", "platform", "/tenants", map[string]any{"slug": "victim", "name": "Victim"}, nil)
	o.MustCall(t, "POST", "platform", "/tenants", map[string]any{"slug": "hostile", "name": "Hostile"}, nil)
	if err := o.Publish("victim",
		map[string][]byte{"document.yaml": []byte(hostilePolicy("R.attr.owner == P.id"))}); err != nil {
		t.Fatal(err)
	}
	_, victim, err := o.Decider("victim", "asserted")
	if err != nil {
		t.Fatal(err)
	}
	_, hostile, err := o.Decider("hostile", "asserted")
	if err != nil {
		t.Fatal(err)
	}

	over := make(chan struct{})
	var answered, failed atomic.Int64
	var wait sync.WaitGroup
	client, err := sdk.New(server.GRPC, sdk.WithPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	client = client.With(sdk.Headers("authorization", "Bearer "+victim))
	for worker, check := range []func() error{
		func() error { return victimOverGRPC(client) },
		func() error { return victimOverHTTP(server.URL, victim) },
	} {
		wait.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if err := check(); err != nil {
					if failed.Add(1) <= 3 {
						t.Errorf("the other tenant's check (%d): %v", worker, err)
					}
				} else {
					answered.Add(1)
				}
				time.Sleep(20 * time.Millisecond) // real time between real requests: the victim does not flood
			}
		})
	}

	var refused int
	for name, upload := range uploads(t) {
		before := answered.Load()
		err := o.Send("POST", "hostile", "/policies/import?publish=true&reason=why+not", upload.kind, upload.body, nil)
		var r *process.Refusal
		switch {
		case err == nil:
			t.Errorf("%s was published", name)
		case !errors.As(err, &r) || r.Status >= 500:
			t.Errorf("%s: %v", name, err)
		default:
			refused++
		}
		t.Logf("%-32s %d checks answered meanwhile: %.120v", name, answered.Load()-before, err)
	}
	for name, expr := range map[string]string{
		"loops in loops": `R.attr.tags.all(a, R.attr.tags.all(b, R.attr.tags.all(c,` +
			` R.attr.tags.all(d, a + b + c + d != P.id))))`,
		"a growing list": `R.attr.tags.map(a, R.attr.tags.map(b, R.attr.tags.map(c,` +
			` R.attr.tags.map(d, a + b + c + d)))).size() > 0`,
	} {
		if err := o.Publish("hostile", map[string][]byte{"document.yaml": []byte(hostilePolicy(expr))}); err != nil {
			t.Fatalf("%s was not published: %v", name, err)
		}
		before := answered.Load()
		var asking sync.WaitGroup
		for range 4 {
			asking.Go(func() {
				tags := `"` + strings.Repeat(`tag", "`, 150) + `tag"`
				status, body, err := ask(server.URL, "hostile", hostile,
					`{"principal": {"id": "h", "roles": ["user"]}, "resources": [{"actions": ["view"],
						"resource": {"kind": "document", "id": "d", "attr": {"tags": [`+tags+`]}}}]}`)
				if err != nil || status == http.StatusInternalServerError || status == http.StatusOK &&
					!strings.Contains(body, "EFFECT_") {
					t.Errorf("%s: %d %.200s %v", name, status, body, err)
				}
			})
		}
		asking.Wait()
		t.Logf("%-32s %d checks answered meanwhile", name, answered.Load()-before)
	}
	for name, expr := range map[string]string{
		"loops in loops": `P.attr.tags.all(a, P.attr.tags.all(b, P.attr.tags.all(c,` +
			` P.attr.tags.all(d, a + b + c + d != P.id))))`,
		"a text of texts": `P.attr.tags.join()` +
			strings.Repeat(`.replace("t", P.attr.tags.join())`, 3) + `.size() > 0`,
		"a large pattern": `P.attr.tags.join().replace("t", P.attr.tags.join()).matches("` +
			strings.Repeat("[a-z]{0,900}", 20) + `0")`,
		"a long list": `lists.range(P.attr.tags.size() * 5000).map(a, [a, a, a, a, a, a, a, a]).distinct().size() > 0`,
	} {
		if err := o.Publish("hostile", map[string][]byte{"document.yaml": []byte(hostilePolicy(expr))}); err != nil {
			t.Fatalf("%s was not published: %v", name, err)
		}
		before := answered.Load()
		tags := `"` + strings.Repeat(`tag", "`, 150) + `tag"`
		for _, question := range []string{
			`check/resources {"principal": {"id": "h", "roles": ["user"], "attr": {"tags": [` + tags +
				`]}}, "resources": [{"actions": ["view"], "resource": {"kind": "document", "id": "d"}}]}`,
			`plan/resources {"principal": {"id": "h", "roles": ["user"], "attr": {"tags": [` + tags +
				`]}}, "actions": ["view"], "resource": {"kind": "document"}}`,
		} {
			to, body, _ := strings.Cut(question, " ")
			if status, answer, err := askAt(server.URL, "hostile", to, hostile, body); err != nil ||
				status != http.StatusTooManyRequests {
				t.Errorf("%s, %s: %d %.200s %v", name, to, status, answer, err)
			}
		}
		t.Logf("%-32s %d checks answered meanwhile", name, answered.Load()-before)
	}
	close(over)
	wait.Wait()
	if answered.Load() == 0 || failed.Load() > 0 {
		t.Errorf("of the other tenant's checks %d were answered and %d were not", answered.Load(), failed.Load())
	}
	t.Logf("%d uploads refused; of the other tenant's checks %d were answered and %d were not", refused,
		answered.Load(), failed.Load())
}

func hostilePolicy(condition string) string {
	return fmt.Sprintf(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: document
  version: default
  rules:
    - actions: [view]
      effect: EFFECT_ALLOW
      roles: ["*"]
      condition:
        match:
          expr: >
            %s
`, condition)
}

func victimOverGRPC(client *sdk.GRPCClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for owner, want := range map[string]bool{"ada": true, "bob": false} {
		got, err := client.IsAllowed(ctx, sdk.NewPrincipal("ada", "user"),
			sdk.NewResource("document", "d").WithAttr("owner", owner), "view")
		if err != nil || got != want {
			return fmt.Errorf("%s's document: %v, %w", owner, got, err)
		}
	}
	return nil
}

func victimOverHTTP(base, token string) error {
	status, body, err := ask(base, "victim", token,
		`{"principal": {"id": "ada", "roles": ["user"]}, "resources": [{"actions": ["view"],
			"resource": {"kind": "document", "id": "d", "attr": {"owner": "ada"}}}]}`)
	if err == nil && (status != http.StatusOK || !strings.Contains(body, "EFFECT_ALLOW")) {
		err = fmt.Errorf("status %d: %.300s", status, body)
	}
	return err
}

func ask(base, tenant, token, request string) (int, string, error) {
	return askAt(base, tenant, "check/resources", token, request)
}

func askAt(base, tenant, path, token, request string) (int, string, error) {
	r, err := http.NewRequest(http.MethodPost, base+"/t/"+tenant+"/api/"+path, strings.NewReader(request))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{Timeout: 2 * time.Minute}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, string(body), err
}

type upload struct {
	kind string
	body []byte
}

// bomb returns a zip of one file with so many megabytes of spaces. It compresses one megabyte and
// repeats it: compressing all takes half a minute with the race detector.
func bomb(t *testing.T, megabytes int) []byte {
	t.Helper()
	spaces, sum := bytes.Repeat([]byte(" "), 1<<20), crc32.NewIEEE()
	var part, all, archive bytes.Buffer
	deflate, err := flate.NewWriter(&part, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = deflate.Write(spaces)
	_ = deflate.Flush() // whole bytes, and nothing that is not in them is referred to
	for range megabytes {
		all.Write(part.Bytes())
		_, _ = sum.Write(spaces)
	}
	all.Write([]byte{1, 0, 0, 0xff, 0xff}) // the last block, empty (RFC 1951 §3.2.4)
	w := zip.NewWriter(&archive)
	f, err := w.CreateRaw(&zip.FileHeader{Name: "document.yaml", Method: zip.Deflate, CRC32: sum.Sum32(),
		CompressedSize64: uint64(all.Len()), UncompressedSize64: uint64(megabytes) << 20})
	if err == nil {
		_, err = f.Write(all.Bytes())
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// uploads are archives and files that the server must refuse.
func uploads(t *testing.T) map[string]upload {
	t.Helper()
	out := map[string]upload{}
	pack := func(name string, files map[string][]byte) {
		archive, err := process.Zip(files)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = upload{"application/zip", archive}
	}
	policy := func(name, text string) { pack(name, map[string][]byte{"document.yaml": []byte(text)}) }

	policy("deep parentheses", hostilePolicy(strings.Repeat("(", 200_000)+"true"+strings.Repeat(")", 200_000)))
	policy("a long chain", hostilePolicy("true"+strings.Repeat(" && true == false", 40_000)))
	policy("constants that explode",
		hostilePolicy(strings.Repeat("[1, 2, 3, 4, 5, 6, 7, 8, 9].map(a, ", 12)+"1"+strings.Repeat(")",
			12)+".size() > 0"))
	policy("deep YAML", "apiVersion: api.cerbos.dev/v1\nresourcePolicy: "+strings.Repeat("[",
		100_000)+strings.Repeat("]", 100_000))
	policy("deep YAML maps", "a: "+strings.Repeat("{a: ", 100_000)+strings.Repeat("}", 100_000))
	var aliases strings.Builder
	aliases.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&aliases, "a%d: &a%d [%s]\n", i, i,
			strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	policy("aliases of aliases", aliases.String())
	policy("a file of 10 MB", hostilePolicy("true # "+strings.Repeat("x", 10<<20)))
	out["a zip bomb"] = upload{"application/zip", bomb(t, 200)}
	many := map[string][]byte{}
	for i := range 5000 {
		many[fmt.Sprintf("p%d.yaml", i)] = []byte(hostilePolicy("true"))
	}
	pack("five thousand files", many)
	big := map[string][]byte{}
	for i := range 60 {
		big[fmt.Sprintf("p%d.yaml",
			i)] = []byte(strings.Replace(hostilePolicy(strings.Repeat("R.attr.tags.exists(t, t == P.id) || ",
			400)+"true == false"), "resource: document", fmt.Sprintf("resource: \"gatehouse:kind%d\"", i), 1))
	}
	pack("a huge directory, then refused", big)
	policy("not UTF-8", hostilePolicy("\xff\xfe == \"\""))
	policy("a reserved kind", strings.Replace(hostilePolicy("true"), "resource: document",
		`resource: "gatehouse:user"`, 1))
	pack("a path that climbs", map[string][]byte{"../../document.yaml": []byte(hostilePolicy("true"))})
	pack("an absolute path", map[string][]byte{"/etc/document.yaml": []byte(hostilePolicy("true"))})
	pack("derived roles in a circle", map[string][]byte{
		"a.yaml": []byte("apiVersion: api.cerbos.dev/v1\nderivedRoles:\n  name: a\n  variables: {import: [b]}\n  " +
			"definitions: [{name: x, parentRoles: [x]}]\n"),
		"b.yaml": []byte("apiVersion: api.cerbos.dev/v1\nexportVariables:\n  name: b\n  definitions: {p: V.q, q: " +
			"V.p}\n"),
		"c.yaml": []byte(strings.Replace(hostilePolicy("V.p"), "  rules:",
			"  variables: {import: [b]}\n  importDerivedRoles: [a]\n  rules:", 1)),
	})
	out["half an archive"] = upload{"application/zip", slices.Clone(out["a reserved kind"].body)[:100]}
	out["not an archive"] = upload{"application/zip", bytes.Repeat([]byte("PK"), 1000)}
	return out
}
