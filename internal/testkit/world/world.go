// Package world is Gatehouse as tests meet it: the whole application on a database of its own,
// behind a loopback listener. Tests move its clock and read its mail.
//
// It builds the application with internal/app, as the server does. Nothing inside is replaced, only
// what lies outside: the time, the cost of a password hash, and the receiver of mail. Tests of a
// door use it from their external test package, because this package imports every door.
package world

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-iam/gatehouse/internal/app"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// World is an application and its surroundings. It starts with only the platform tenant.
type World struct {
	*testkit.Database              // the application's own connections; its clock starts at the machine's time
	App               *app.App     //
	T                 testing.TB   // of the test that built it
	Handler           http.Handler // everything public
	Origin            string       // http://127.0.0.1:port
	Log               *Log         // what the application logs
	Data              string       // its directory, with gatehouse.db on SQLite
	Jobs              *job.Runner  // runs only when Work is called
	mailbox           *mailbox     //
	transport         *http.Transport
}

var ctx = context.Background()

// Both runs fn on each database. environ adds GATEHOUSE_ variables to the configuration.
func Both(t *testing.T, fn func(t *testing.T, w *World), environ ...string) {
	t.Helper()
	testkit.BothDSN(t, func(t *testing.T, dsn string) { fn(t, New(t, dsn, environ...)) })
}

// OnSQLite returns a World on SQLite, for tests in which the database does not matter.
func OnSQLite(t testing.TB, environ ...string) *World {
	t.Helper()
	return New(t, testkit.SQLite(t), environ...)
}

// New returns a World on a migrated database. It ends with the test.
func New(t testing.TB, dsn string, environ ...string) *World {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	w := &World{T: t, Origin: "http://" + server.Listener.Addr().String(), Log: &Log{}, mailbox: &mailbox{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the application's log:\n%s", w.Log.end())
		}
	})
	cfg := w.configuration(dsn, environ)
	clk := &clock.Fake{}
	clk.Advance(clock.System{}.Now().Sub(clk.Now())) // ids carry the machine's time
	a, err := app.Open(ctx, cfg, slog.New(slog.NewTextHandler(w.Log, nil)), app.Outside{
		Clock: clk, Mail: w.mailbox, Hashing: credential.HasherConfig{Params: credential.Params{Memory: 64, Passes: 1,
			Lanes: 1}},
		Keys: testkit.KeysOf(dsn),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	hosted, err := a.Pages()
	if err != nil {
		t.Fatal(err)
	}
	w.App, w.Database, w.Jobs = a, &testkit.Database{DB: a.DB, Clock: clk}, a.Jobs(hosted)
	w.Handler = a.Handler(hosted, web.NewMetrics(prometheus.NewRegistry()), nil, nil)
	server.Config.Handler = w.Handler
	server.Start()
	w.transport = &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(w.transport.CloseIdleConnections)
	return w
}

// keyRing seals secrets in every World, so that none has to write a development key.
var keyRing = secret.NewKey("test")

func (w *World) configuration(dsn string, environ []string) *config.Config {
	w.T.Helper()
	w.Data = w.T.TempDir()
	env := append([]string{"GATEHOUSE_PUBLIC_URL=" + w.Origin, "GATEHOUSE_DATA=" + w.Data,
		"GATEHOUSE_KEYS=" + keyRing.Reveal()}, environ...)
	if strings.HasPrefix(dsn, "postgres:") {
		env = append(env, "GATEHOUSE_DATABASE="+dsn)
	}
	cfg, err := config.Load(config.Flags{}, env)
	if err == nil && cfg.Database == "" { // the server's file has a fixed name
		err = os.Rename(dsn, filepath.Join(w.Data, "gatehouse.db"))
	}
	if err != nil {
		w.T.Fatal(err)
	}
	return cfg
}

// By returns the caller of a test in the tenant with this slug.
func (w *World) By(slug string) caller.Caller {
	w.T.Helper()
	site, err := w.App.Tenants.BySlug(ctx, slug)
	if err != nil {
		w.T.Fatal(err)
	}
	return caller.Caller{Tenant: site.Tenant, Actor: caller.Actor{Kind: caller.System, Name: "test"}}
}

// Do runs fn in one transaction of the caller's tenant.
func (w *World) Do(c caller.Caller, fn func(tx *db.Tx) error) {
	w.T.Helper()
	if err := w.Update(ctx, c, fn); err != nil {
		w.T.Fatal(err)
	}
}

// Tenant creates an active tenant. The slug with a capital is its name. change adjusts the default
// settings and may be nil.
func (w *World) Tenant(slug string, change func(*tenant.Settings)) caller.Caller {
	w.T.Helper()
	settings := tenant.DefaultSettings()
	if change != nil {
		change(&settings)
	}
	c := caller.Caller{Tenant: w.App.Platform.ID, Actor: caller.Actor{Kind: caller.System, Name: "test"}}
	if err := w.System(ctx, c, "test fixture", func(st *db.SystemTx) error {
		made, err := tenant.Create(ctx, st, tenant.New{Slug: slug, Name: strings.ToUpper(slug[:1]) + slug[1:],
			Settings: &settings})
		c.Tenant = made.ID
		return err
	}); err != nil {
		w.T.Fatal(err)
	}
	return c
}

// Password is the password of every user with one.
const Password = "correct horse battery staple"

// User creates an active user with roles and without a password.
func (w *World) User(c caller.Caller, n user.Profile, roles ...string) user.User {
	w.T.Helper()
	u, err := db.Write(ctx, w.DB, c, func(tx *db.Tx) (user.User, error) {
		u, err := user.Create(ctx, tx, n)
		for _, name := range roles {
			if err == nil {
				err = role.Assign(ctx, tx, role.Everything(), role.OfUser(u.ID), name, time.Time{})
			}
		}
		return u, err
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return u
}

// SetPassword gives the user the Password.
func (w *World) SetPassword(c caller.Caller, u user.User) {
	w.T.Helper()
	phc, err := w.App.Hasher.Hash(ctx, Password)
	if err != nil {
		w.T.Fatal(err)
	}
	w.Do(c, func(tx *db.Tx) error { return credential.SetPassword(ctx, tx, u.ID, phc) })
}

// Client is an application and the secret that it was given.
type Client struct {
	application.Application
	Secret secret.String
}

// Client registers an application.
func (w *World) Client(c caller.Caller, n application.New) Client {
	w.T.Helper()
	made, err := db.Write(ctx, w.DB, c, func(tx *db.Tx) (Client, error) {
		a, shown, err := application.Create(ctx, tx, n)
		return Client{a, shown}, err
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return made
}

// Work runs all due jobs and returns the mail that they sent.
func (w *World) Work() []mail.Message {
	w.T.Helper()
	for w.Jobs.Work(ctx) {
	}
	return w.mailbox.take()
}

// mailbox is where all mail arrives.
type mailbox struct {
	mu   sync.Mutex
	mail []mail.Message
}

// Send implements mail.Sender.
func (m *mailbox) Send(_ context.Context, message mail.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mail = append(m.mail, message)
	return nil
}

func (m *mailbox) take() []mail.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	sent := m.mail
	m.mail = nil
	return sent
}

// Log keeps what the application logs.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String returns everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// end returns the last lines, for a test that failed.
func (l *Log) end() string {
	text := l.String()
	return text[max(0, len(text)-2000):]
}
