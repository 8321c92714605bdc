package testkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/migrations"
)

var template struct {
	sync.Once
	server string // URL of the server's maintenance database
	name   string
	err    error
}

// Postgres returns the URL of a new, migrated Postgres database, which is dropped with the test.
//
// The server is the one of GATEHOUSE_TEST_POSTGRES. Otherwise it is started from the machine's own
// binaries and ends with the last test that uses it. Without either the test fails and says how to
// get one.
func Postgres(t testing.TB) string {
	t.Helper()
	name := newDatabase(t, "TEMPLATE "+templateDatabase(t))
	// A copy has the rights of its template's tables, but those of a new database.
	if err := admin(template.server, fmt.Sprintf("REVOKE ALL ON DATABASE %s FROM PUBLIC", name),
		fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", name, servingRole(template.name+making))); err != nil {
		t.Fatal(err)
	}
	return ownerURL(template.server, name)
}

// EmptyPostgres is Postgres without the migrations, for tests of migrating. The options go to
// CREATE DATABASE.
func EmptyPostgres(t testing.TB, options ...string) string {
	t.Helper()
	templateDatabase(t) // starts the server and creates the owner
	return ownerURL(template.server, newDatabase(t, options...))
}

// templateDatabase returns the name of the migrated database that others are copies of.
func templateDatabase(t testing.TB) string {
	t.Helper()
	SkipFast(t, "Postgres")
	template.Do(func() {
		template.server, template.err = serverURL()
		if template.err == nil {
			template.name, template.err = makeTemplate(template.server)
		}
	})
	if template.err != nil {
		t.Fatalf("no Postgres for the tests: %v\nInstall it (Debian: apt-get install postgresql) or set GATEHOUSE_TEST_POSTGRES=postgres://… to a server where this user may create databases and roles.", template.err)
	}
	return template.name
}

// newDatabase creates a database of the owner, drops it with the test, and returns its name. The
// options go to CREATE DATABASE.
//
// It copies the template's files. By default Postgres also logs each of their pages, which takes
// six times the processor's time.
func newDatabase(t testing.TB, options ...string) string {
	t.Helper()
	name := "gh_" + strings.ReplaceAll(id.New().String(), "-", "")
	if err := admin(template.server, strings.Join(append([]string{"CREATE DATABASE", name, "STRATEGY file_copy OWNER",
		owner}, options...), " ")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin(template.server, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name),
			"DROP ROLE IF EXISTS "+servingRole(name)); err != nil {
			t.Error(err)
		}
	})
	return name
}

// owner is the role that owns and migrates the tests' databases. It is what a managed Postgres
// gives its customers: neither a superuser nor exempt from row-level security.
const owner = "gatehouse_test_owner"

// making ends the name of a template that is not complete yet.
const making = "_making"

// servingRole returns the role that migrating a database of that name creates.
func servingRole(database string) string { return "gatehouse_app_" + database }

// ownerPassword is for a server that asks for one.
const ownerPassword = "gatehouse"

func ownerURL(server, database string) string {
	u, _ := url.Parse(withDatabase(server, database))
	u.User = url.UserPassword(owner, ownerPassword)
	return u.String()
}

func withDatabase(server, name string) string {
	u, _ := url.Parse(server)
	u.Path = "/" + name
	return u.String()
}

func admin(server string, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, q := range statements {
		if _, err := conn.Exec(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

const makeOwner = `DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%[1]s') THEN
		CREATE ROLE %[1]s LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS PASSWORD '%[2]s';
		GRANT %[1]s TO current_user;
	END IF; END $$`

// makeTemplate creates the database that each test's database is cloned from. It does so once for a
// server and a set of migrations.
func makeTemplate(server string) (string, error) {
	h := sha256.New()
	h.Write([]byte(owner))
	err := fs.WalkDir(migrations.Postgres, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(migrations.Postgres, p)
		h.Write([]byte(p))
		h.Write(b)
		return err
	})
	if err != nil {
		return "", err
	}
	name := "gh_template_" + hex.EncodeToString(h.Sum(nil))[:16]
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	// Other test processes wait here until the first has made it.
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(4242)"); err != nil {
		return "", err
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf(makeOwner, owner, ownerPassword)); err != nil {
		return "", err
	}
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)",
		name).Scan(&there); err != nil || there {
		return name, err
	}
	for _, q := range []string{"DROP DATABASE IF EXISTS " + name + making + " WITH (FORCE)",
		"CREATE DATABASE " + name + making + " OWNER " + owner} {
		if _, err := conn.Exec(ctx, q); err != nil {
			return "", err
		}
	}
	if _, err := db.Migrate(ctx, config(ownerURL(server, name+making))); err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s", name+making, name))
	return name, err
}

// serverURL returns the URL of the server that tests use, and starts the server if necessary.
func serverURL() (string, error) {
	if dsn := os.Getenv("GATEHOUSE_TEST_POSTGRES"); dsn != "" && own == nil {
		return dsn, nil
	}
	return startServer()
}

var errNoBinaries = errors.New("neither initdb and postgres on the PATH nor below /usr/lib/postgresql")

// Execute runs statements on a test's database as the server's administrator, past every lock. It
// is for data that no door can write.
func Execute(t testing.TB, dsn string, statements ...string) {
	t.Helper()
	if err := admin(AdminDSN(t, dsn), statements...); err != nil {
		t.Fatal(err)
	}
}

// AdminDSN returns the URL of a test's database for the server's administrator.
func AdminDSN(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return withDatabase(template.server, strings.TrimPrefix(u.Path, "/"))
}
