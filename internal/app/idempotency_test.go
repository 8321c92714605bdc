package app_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// keyed sends a JSON request with an Idempotency-Key.
func keyed(w *world.World, token, method, slug, path, key, body string) world.Answer {
	w.T.Helper()
	r := w.Request(token, method, slug, "/api/v1"+path, "application/json", strings.NewReader(body))
	r.Header.Set("Idempotency-Key", key)
	return w.Send(r)
}

// Of 16 calls with one key at once, one takes effect. The others get its answer, or are told to
// wait.
func TestOneEffectForOneIdempotencyKey(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		w.Tenant("acme", nil)
		token := w.Holder("acme", role.Owner)
		for _, c := range []struct{ name, path, body, list, field, want string }{
			{"in its transaction", "/groups", `{"name":"Finance"}`, "/groups", "name", "Finance"},
			{"after something slow", "/users", `{"username":"ada","password":"a stapler that is red"}`, "/users",
				"username", "ada"},
			{"with a secret", "/applications", `{"name":"Reports","type":"machine"}`, "/applications", "name",
				"Reports"},
		} {
			const calls = 16
			answers := make([]world.Answer, calls)
			var all sync.WaitGroup
			for i := range calls {
				all.Go(func() {
					for range 50 {
						answers[i] = keyed(w, token, "POST", "acme", c.path, "one of "+c.name, c.body)
						if answers[i].Status != http.StatusConflict {
							return
						}
						if answers[i].Header.Get("Retry-After") == "" {
							t.Errorf("%s: 409 without Retry-After: %s", c.name, answers[i].Body)
						}
						time.Sleep(50 * time.Millisecond)
					}
				})
			}
			all.Wait()
			replayed := 0
			for _, a := range answers {
				if a.Status != http.StatusCreated || a.Body != answers[0].Body {
					t.Errorf("%s: %d %s, want %s", c.name, a.Status, a.Body, answers[0].Body)
				}
				if a.Header.Get("Idempotent-Replayed") == "true" {
					replayed++
				}
			}
			if replayed != calls-1 {
				t.Errorf("%s: %d of %d answers are replayed", c.name, replayed, calls)
			}
			found := 0
			for _, name := range itemsOf(t, w.Must(token, "GET", "acme", c.list, nil), c.field) {
				if name == c.want {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%s: %d effects, want 1", c.name, found)
			}
		}
	})
}

func TestIdempotencyKeys(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		by := w.Tenant("acme", nil)
		token, other := w.Holder("acme", role.Owner), w.Holder("acme", role.Owner)
		operator := w.Operator()
		const app = `{"name":"Reports","type":"machine"}`
		made := keyed(w, token, "POST", "acme", "/applications", "k", app)
		secret, _ := made.JSON(t)["client_secret"].(string)
		if made.Status != http.StatusCreated || secret == "" {
			t.Fatal(made.Status, made.Body)
		}
		expect := func(what string, a world.Answer, status int, code string) {
			t.Helper()
			if a.Status != status || code != "" && !strings.Contains(a.Body, code) {
				t.Errorf("%s: %d %s, want %d %s", what, a.Status, a.Body, status, code)
			}
		}
		// The same key as a string of structured fields, and bare.
		again := keyed(w, token, "POST", "acme", "/applications", `"k"`, app)
		if again.Body != made.Body || again.Status != made.Status {
			t.Errorf("again: %d %s, want %s", again.Status, again.Body, made.Body)
		}
		expect("another request", keyed(w, token, "POST", "acme", "/applications", "k",
			`{"name":"Other","type":"machine"}`), 422, "request.idempotency_key_reused")
		if a := keyed(w, other, "POST", "acme", "/applications", "k", app); a.Status != 201 || a.Body == made.Body {
			t.Errorf("another caller: %d %s", a.Status, a.Body)
		}
		expect("another operation", keyed(w, token, "POST", "acme", "/groups", "k", `{"name":"A"}`), 201, "")
		expect("no key", keyed(w, token, "POST", "acme", "/groups", `""`, `{"name":"B"}`), 400, "Idempotency-Key")
		expect("a long key", keyed(w, token, "POST", "acme", "/groups", strings.Repeat("k", 256), `{"name":"B"}`), 400,
			"Idempotency-Key")
		expect("a patch", keyed(w, token, "PATCH", "acme", "/settings", "k", `{"registration":true}`), 200, "")
		expect("a tenant", keyed(w, operator, "POST", "platform", "/tenants", "k", `{"slug":"globex","name":"Globex"}`),
			201, "")
		expect("a tenant again", keyed(w, operator, "POST", "platform", "/tenants", "k",
			`{"slug":"globex","name":"Globex"}`), 201, "")

		// A refusal has no effect, and so keeps nothing.
		expect("a refusal", keyed(w, token, "POST", "acme", "/groups", "r", `{"name":"A"}`), 409, "group.name_taken")
		expect("after a refusal", keyed(w, token, "POST", "acme", "/groups", "r", `{"name":"C"}`), 201, "")

		// Nothing of an answer can be read in the database.
		type kept struct{ request, answer []byte }
		rows, err := db.Read(t.Context(), w.DB, by, func(tx *db.Tx) ([]kept, error) {
			return db.List(t.Context(), tx, func(row db.Row) (kept, error) {
				var k kept
				err := row.Scan(&k.request, &k.answer)
				return k, err
			}, `SELECT request, answer FROM idempotency_keys WHERE tenant_id = $1`)
		})
		if err != nil || len(rows) != 4 {
			t.Fatalf("%d keys are kept: %v", len(rows), err)
		}
		for _, k := range rows {
			all := string(k.request) + string(k.answer)
			if strings.Contains(all, secret) || strings.Contains(all, "name") {
				t.Errorf("an answer is readable: %q", all)
			}
		}

		// A replica died with the key: after a minute another call takes it over.
		w.Do(by, func(tx *db.Tx) error {
			tx.Later(`UPDATE idempotency_keys SET answer = $2 WHERE tenant_id = $1`, []byte{})
			return nil
		})
		running := keyed(w, token, "POST", "acme", "/groups", "r", `{"name":"C"}`)
		expect("running", running, 409, "request.running")
		if running.Header.Get("Retry-After") == "" {
			t.Error("409 without Retry-After")
		}
		w.Clock.Advance(61 * time.Second)
		expect("taken over", keyed(w, token, "POST", "acme", "/groups", "r", `{"name":"C"}`), 409, "group.name_taken")

		w.Clock.Advance(24 * time.Hour)
		w.Do(by, func(tx *db.Tx) error {
			more, err := api.PurgeKeys(t.Context(), tx, 100)
			if err != nil || more {
				t.Error(more, err)
			}
			left, err := db.One(t.Context(), tx, db.Column[int64],
				`SELECT count(*) FROM idempotency_keys WHERE tenant_id = $1`)
			if left != 0 {
				t.Errorf("%d keys are left after a day", left)
			}
			return err
		})
	})
}

// Operations with several transactions keep their answer in the one of the effect. If it cannot
// be kept, nothing is done, and the call can be repeated.
func TestTheAnswerIsKeptWithTheEffect(t *testing.T) {
	testkit.BothDSN(t, func(t *testing.T, dsn string) {
		w := world.New(t, dsn)
		w.Tenant("acme", nil)
		operator, token := w.Operator(), w.Holder("acme", role.Owner)
		run := func(postgres, sqlite string) {
			t.Helper()
			if w.Name() == "postgres" {
				testkit.Execute(t, dsn, postgres)
				return
			}
			file, err := sql.Open("sqlite", filepath.Join(w.Data, "gatehouse.db")+"?_pragma=busy_timeout(10000)")
			if err == nil {
				_, err = file.ExecContext(t.Context(), sqlite)
			}
			if err == nil {
				err = file.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct{ token, slug, path, body string }{
			{operator, "platform", "/tenants", `{"slug":"globex","name":"Globex"}`},
			{token, "acme", "/signing-keys/rotate", `{"algorithm":"ES256"}`},
		} {
			run(`ALTER TABLE idempotency_keys ADD CONSTRAINT unanswered CHECK (answer = '') NOT VALID`,
				`CREATE TRIGGER unanswered BEFORE UPDATE ON idempotency_keys WHEN NEW.answer <> x''
					BEGIN SELECT RAISE(ABORT, 'unanswered'); END`)
			if a := keyed(w, c.token, "POST", c.slug, c.path, "k", c.body); a.Status != 500 {
				t.Errorf("%s: %d %s", c.path, a.Status, a.Body)
			}
			run(`ALTER TABLE idempotency_keys DROP CONSTRAINT unanswered`, `DROP TRIGGER unanswered`)
			if a := keyed(w, c.token, "POST", c.slug, c.path, "k", c.body); a.Status/100 != 2 ||
				a.Header.Get("Idempotent-Replayed") != "" {
				t.Errorf("%s again: %d %s", c.path, a.Status, a.Body)
			}
		}
	})
}
