package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"io/fs"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-iam/gatehouse/internal/app"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// deployment is a configuration whose data directory does not exist yet.
type deployment struct {
	t    *testing.T
	data string
	env  []string
}

// onEach runs fn with a new deployment on SQLite, and one on Postgres.
func onEach(t *testing.T, fn func(t *testing.T, d *deployment)) {
	t.Helper()
	testkit.BothDSN(t, func(t *testing.T, dsn string) {
		d := newDeployment(t)
		if strings.HasPrefix(dsn, "postgres:") {
			d.env = append(d.env, "GATEHOUSE_DATABASE="+dsn)
		}
		fn(t, d)
	})
}

// newDeployment returns a deployment on SQLite and free ports.
func newDeployment(t *testing.T) *deployment {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	return &deployment{t, data, []string{
		"GATEHOUSE_DATA=" + data, "GATEHOUSE_LISTEN=127.0.0.1:0", "GATEHOUSE_OPS_LISTEN=127.0.0.1:0",
		"GATEHOUSE_GRPC_LISTEN=127.0.0.1:0", "GATEHOUSE_PUBLIC_URL=http://127.0.0.1:8080",
	}}
}

// run runs the binary with more environment. It returns the exit code and all output.
func (d *deployment) run(environ []string, args ...string) (int, string) {
	var out bytes.Buffer
	code := app.Main(args, slices.Concat(environ, d.env), &out, &out)
	return code, out.String()
}

// start starts the server once, up to the listeners, and ends it.
func (d *deployment) start(environ ...string) {
	d.t.Helper()
	cfg, err := config.Load(config.Flags{}, slices.Concat(environ, d.env))
	if err != nil {
		d.t.Fatal(err)
	}
	a, err := app.Open(context.Background(), cfg, slog.New(slog.DiscardHandler), app.Outside{Keys: testkit.Key})
	if err != nil {
		d.t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.FirstStart(context.Background()); err != nil {
		d.t.Fatal(err)
	}
}

// open opens the server up to the listeners. It ends with the test.
func (d *deployment) open() *app.App {
	d.t.Helper()
	cfg, err := config.Load(config.Flags{}, d.env)
	if err != nil {
		d.t.Fatal(err)
	}
	a, err := app.Open(context.Background(), cfg, slog.New(slog.DiscardHandler), app.Outside{Keys: testkit.Key})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(a.Close)
	if _, err := a.FirstStart(context.Background()); err != nil {
		d.t.Fatal(err)
	}
	return a
}

// rotate uses the deployment's key ring.
func (d *deployment) rotate() {
	d.t.Helper()
	if code, out := d.run(nil, "keys", "rotate", "--tenant", "platform"); code != 0 {
		d.t.Fatal(out)
	}
}

func (d *deployment) has(name string) bool {
	_, err := os.Stat(filepath.Join(d.data, name))
	return err == nil
}

// refused checks that commands fail with these words.
func (d *deployment) refused(environ []string, words string, commands ...string) {
	d.t.Helper()
	for _, c := range commands {
		if code, out := d.run(environ, strings.Fields(c)...); code != 1 || !strings.Contains(out, words) {
			d.t.Errorf("%s: exit code %d, want 1 and %q:\n%s", c, code, words, out)
		}
	}
}

// A role that could not migrate an empty database is told what is missing, before anything is
// written.
func TestOwnerThatCannotMigrateIsRefused(t *testing.T) {
	d := newDeployment(t)
	dsn := testkit.EmptyPostgres(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	database, name := strings.TrimPrefix(u.Path, "/"), "gh_plain_"+strings.ReplaceAll(id.New().String(), "-", "")
	testkit.Execute(t, dsn, "CREATE ROLE "+name+" LOGIN PASSWORD 'gatehouse'")
	t.Cleanup(func() { testkit.Execute(t, dsn, "DROP OWNED BY "+name+" CASCADE", "DROP ROLE "+name) })
	u.User = url.UserPassword(name, "gatehouse")
	d.env = append(d.env, "GATEHOUSE_DATABASE="+u.String())
	d.refused(nil, "give the owner's URL to --migrate-database", "doctor", "migrate", "serve")

	testkit.Execute(t, dsn, "GRANT CREATE ON SCHEMA public TO "+name)
	d.refused(nil, "CREATE ROLE \"gatehouse_app_"+database+"\" NOLOGIN; GRANT", "doctor", "migrate", "serve")
	d.refused(nil, "there is none yet in --database", "doctor")
}

// What Postgres says beside an error reaches the terminal, also for errors that the migrations
// raise.
func TestHintOfPostgresIsPrinted(t *testing.T) {
	d := newDeployment(t)
	dsn := testkit.EmptyPostgres(t)
	d.env = append(d.env, "GATEHOUSE_DATABASE="+dsn)
	testkit.Execute(t, dsn, `CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS
		$$BEGIN RAISE EXCEPTION 'no tables' USING DETAIL = 'a detail of ours', HINT = 'ask the administrator'; END$$`,
		`CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION refuse()`)
	d.refused(nil, "  detail: a detail of ours\n  → ask the administrator\n", "migrate", "serve")
}

// A Postgres database in another encoding is refused with that reason before it is migrated.
func TestOtherEncodingIsRefused(t *testing.T) {
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		d := newDeployment(t)
		d.env = append(d.env, "GATEHOUSE_DATABASE="+testkit.EmptyPostgres(t, "TEMPLATE template0 LC_COLLATE 'C'",
			"LC_CTYPE 'C' ENCODING '"+encoding+"'"))
		d.refused(nil, "the database stores texts in "+encoding, "doctor", "migrate", "serve")
	}
}

// Every setting is judged before anything is created, also by the rules of the features.
func TestConfigurationIsJudgedAtOnce(t *testing.T) {
	d := newDeployment(t)
	for _, command := range []string{"serve", "migrate", "doctor"} {
		code, out := d.run([]string{
			"GATEHOUSE_ADMIN_EMAIL=ada@", "GATEHOUSE_ADMIN_PASSWORD=password", "GATEHOUSE_ADMIN_CLIENT_ID=my operator",
			"GATEHOUSE_ADMIN_CLIENT_SECRET=short", "GATEHOUSE_LOG_LEVEL=loud",
		}, command)
		for _, want := range []string{
			"admin-email (GATEHOUSE_ADMIN_EMAIL): This is not", "admin-password (GATEHOUSE_ADMIN_PASSWORD): ",
			"admin-client-id (GATEHOUSE_ADMIN_CLIENT_ID): A client_id has", "log-level",
			"admin-client-secret (GATEHOUSE_ADMIN_CLIENT_SECRET): A secret",
		} {
			if code != 2 || !strings.Contains(out, want) {
				t.Errorf("%s: exit code %d, want 2 and %q:\n%s", command, code, want, out)
			}
		}
	}
	if d.has("") {
		t.Error("the data directory was created")
	}
}

// A port that is in use keeps the database as it is.
func TestPortsAreCheckedBeforeMigrating(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d := newDeployment(t)
	for _, name := range []string{"LISTEN", "OPS_LISTEN", "GRPC_LISTEN"} {
		setting := "GATEHOUSE_" + name
		d.refused([]string{setting + "=" + l.Addr().String(), "GATEHOUSE_PUBLIC_URL=http://localhost"}, setting, "serve")
	}
	if d.has("") {
		t.Error("the data directory was created")
	}
}

// A key ring that does not open what is stored is noticed at start, and by the doctor.
func TestWrongKeyRingIsRefused(t *testing.T) {
	one, two := "GATEHOUSE_KEYS="+secret.NewKey("k1").Reveal(), "GATEHOUSE_KEYS="+secret.NewKey("k2").Reveal()
	onEach(t, func(t *testing.T, d *deployment) {
		d.start(one)
		const words = "give --keys the ring that sealed the database"
		d.refused([]string{two}, words, "serve", "doctor", "keys rotate --tenant platform", "admin make-client")
		d.refused(nil, words, "serve", "doctor")
		if d.has("development.key") {
			t.Error("a new development key was created beside secrets that it cannot open")
		}
		both := two + "\n" + strings.TrimPrefix(one, "GATEHOUSE_KEYS=")
		d.start(both)
		if code, out := d.run([]string{both}, "doctor"); code != 0 {
			t.Errorf("the doctor, with the ring of the database: %s", out)
		}
	})
}

// A development key that was lost is not replaced: the new one would open nothing.
func TestLostDevelopmentKeyIsNotReplaced(t *testing.T) {
	onEach(t, func(t *testing.T, d *deployment) {
		if code, out := d.run(nil, "migrate"); code != 0 {
			t.Fatal(out)
		}
		if code, out := d.run(nil, "doctor"); code != 0 || d.has("development.key") {
			t.Errorf("the doctor before the first start: %s", out)
		}
		d.start()
		d.rotate()
		key := filepath.Join(d.data, "development.key")
		if err := os.Chmod(key, 0o644); err != nil {
			t.Fatal(err)
		}
		d.refused(nil, "other users of this machine can read "+key, "doctor")
		d.start()
		if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the key is still open: %v, %v", info.Mode(), err)
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		d.refused(nil, "restore "+key, "serve", "doctor", "keys rotate --tenant platform")
		if d.has("development.key") {
			t.Error("it was replaced")
		}
	})
}

// A development key belongs to one data directory. A database that was started and never used has
// nothing sealed, so the server of any other directory may use it, until the first use.
func TestAnUnusedDatabaseTakesAnyDevelopmentKey(t *testing.T) {
	onEach(t, func(t *testing.T, d *deployment) {
		lose := func() {
			if err := os.Remove(filepath.Join(d.data, "development.key")); err != nil {
				t.Fatal(err)
			}
		}
		d.start()
		lose()
		d.start()
		if code, out := d.run(nil, "doctor"); code != 0 {
			t.Error(out)
		}
		// Two that start before the first use: the one that is late is not ready.
		first := d.open()
		lose()
		second := d.open()
		for _, a := range []*app.App{first, second} {
			if err := a.Ready(t.Context()); err != nil {
				t.Errorf("before the first use: %v", err)
			}
		}
		pages, err := first.Pages()
		if err != nil {
			t.Fatal(err)
		}
		h := first.Handler(pages, web.NewMetrics(prometheus.NewRegistry()), nil, nil)
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://127.0.0.1:8080/t/platform/account", nil))
		second.Keys.Drop(id.ID{}) // as its poller does
		if err := first.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		if err := second.Ready(t.Context()); err == nil {
			t.Error("a server is ready that cannot open what is sealed")
		}
		d.refused(nil, "give --keys the ring", "doctor", "keys rotate --tenant platform")
	})
}

// A schema of a newer release is served if it allows that, and otherwise left alone.
func TestNewerSchemaIsRefused(t *testing.T) {
	d := newDeployment(t)
	d.start()
	conn, err := sql.Open("sqlite", filepath.Join(d.data, "gatehouse.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"migrate", "doctor", "keys rotate --tenant platform"} {
		if code, out := d.run(nil, strings.Fields(command)...); code != 0 || !strings.Contains(out, "can still serve") {
			t.Errorf("%s: exit code %d, want 0 and a warning:\n%s", command, code, out)
		}
	}
	if _, err := conn.Exec(`UPDATE schema_support SET oldest = 99999`); err != nil {
		t.Fatal(err)
	}
	d.refused(nil, "newer than this binary", "serve", "migrate", "doctor", "keys rotate --tenant platform")
}

// A command that repairs a deployment does not create one in the wrong place, nor another owner.
func TestRecoveryCreatesOnlyIfTold(t *testing.T) {
	onEach(t, func(t *testing.T, d *deployment) {
		postgres := len(d.env) > 5
		if !postgres { // testkit's Postgres databases are migrated already
			d.refused(nil, "there is no database yet", "keys rotate --tenant platform", "admin make-client",
				"admin reset-owner --email ada@example.com")
			if d.has("") {
				t.Error("the data directory was created")
			}
		}
		code, out := d.run(nil, "admin", "make-client", "--create")
		if code != 0 || !strings.Contains(out, "client_secret") {
			t.Fatalf("make-client --create: %s", out)
		}
		d.refused(nil, "no owner of the tenant", "admin reset-owner --email ada@example.com")
		reset := []string{"admin", "reset-owner", "--email", "ada@example.com"}
		if code, out := d.run(nil, append(reset, "--create")...); code != 0 {
			t.Fatalf("reset-owner --create: %s", out)
		}
		if code, out := d.run(nil, reset...); code != 0 || !strings.Contains(out, "Password: ") {
			t.Errorf("reset-owner of an owner: %s", out)
		}
	})
}

// A password file may have what editors add.
func TestPasswordFile(t *testing.T) {
	d := newDeployment(t)
	file := filepath.Join(t.TempDir(), "pw")
	for text, code := range map[string]int{
		"\ufeffa stapler that is red\r\n": 0, "\n": 1, "two lines\nof a password": 1,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, out := d.run(nil,
			"admin", "reset-owner", "--create", "--email", "ada@example.com", "--password-file", file)
		if got != code {
			t.Errorf("%q: exit code %d, want %d:\n%s", text, got, code, out)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	d := newDeployment(t)
	_, version := d.run(nil, "version")
	for _, c := range []struct{ args, want string }{
		{"--version", version}, {"serve --version", version}, {"help", "Usage: gatehouse <command>"},
		{"help serve", "Usage: gatehouse serve"}, {"help keys rotate", "--create"}, {"", "Usage: gatehouse <command>"},
	} {
		if code, out := d.run(nil, strings.Fields(c.args)...); code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("gatehouse %s: exit code %d, want %q:\n%s", c.args, code, c.want, out)
		}
	}
	if _, err := os.Stat(d.data); !os.IsNotExist(err) {
		t.Error(fs.ErrExist)
	}
}
