package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

type doctorCommand struct {
	config.Flags `embed:""`
}

// finding is one line of the doctor's report.
type finding struct {
	subject string
	err     error  // nil if the subject is healthy
	remedy  string // printed with err
	note    string // printed without err
}

var errUnhealthy = errors.New("something needs attention; see the lines marked ✗ above")

// Run checks everything that serving needs and changes nothing. It prints each fault with its
// remedy, and fails if there is one.
func (c *doctorCommand) Run(e *env) error {
	cfg, _, err := e.load(c.Flags)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.out, "✓ configuration: valid")
	healthy := true
	for _, f := range examine(e.ctx, cfg) {
		if f.err == nil {
			fmt.Fprintf(e.out, "✓ %s: %s\n", f.subject, f.note)
			continue
		}
		healthy = false
		fmt.Fprintf(e.out, "✗ %s: %v\n  → %s\n", f.subject, f.err, f.remedy)
	}
	if !healthy {
		return errUnhealthy
	}
	return nil
}

func examine(ctx context.Context, cfg *config.Config) []finding {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out := []finding{keysFinding(cfg), publicFinding(cfg)}
	schema := schemaFinding(ctx, cfg)
	out = append(out, schema)
	if schema.err != nil {
		return out
	}
	d, err := db.Open(ctx, database(cfg, nil))
	if err != nil {
		return append(out, finding{subject: "database", err: err, remedy: "give --database a login role of its own, " +
			"and the owner's to --migrate-database; see docs/guides/postgres.md"})
	}
	defer d.Close()
	note := "SQLite, for one machine: no replicas"
	if d.Name() == "postgres" {
		note = "Postgres; the serving role cannot bypass row-level security, and every tenant table forces it"
	}
	out = append(out, finding{subject: "database", note: note}, clockFinding(ctx, d))
	for _, line := range d.Advice() {
		what, remedy, _ := strings.Cut(line, ": ")
		out = append(out, finding{subject: "rights on the database", err: errors.New(what), remedy: remedy})
	}
	return append(out, contents(ctx, cfg, d)...)
}

func keysFinding(cfg *config.Config) finding {
	f := finding{subject: "keys at rest", note: "a configured key ring"}
	if cfg.Keys != "" {
		return f
	}
	path := filepath.Join(cfg.Data, "development.key")
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		f.note = "none yet: serve creates a development key in " + path
	case err != nil:
		f.err, f.remedy = err, "let the user that runs gatehouse read the file"
	case info.Mode().Perm()&0o077 != 0:
		f.err, f.remedy = fmt.Errorf("%s can be read by others (%v)", path, info.Mode().Perm()), "chmod 600 "+path
	default:
		f.note = "the development key " + path + "; in production set --keys"
	}
	return f
}

func publicFinding(cfg *config.Config) finding {
	f := finding{subject: "public URL", note: cfg.PublicURL.String()}
	if cfg.Local() {
		f.note += ", which only this machine reaches"
		return f
	}
	if _, err := net.LookupHost(cfg.PublicURL.Hostname()); err != nil {
		f.err = fmt.Errorf("%s cannot be resolved from here", cfg.PublicURL.Hostname())
		f.remedy = "create a DNS entry for it, or correct --public-url"
	}
	return f
}

func schemaFinding(ctx context.Context, cfg *config.Config) finding {
	f := finding{subject: "schema", note: "up to date"}
	if cfg.Database == "" {
		if _, err := os.Stat(cfg.SQLite()); errors.Is(err, fs.ErrNotExist) {
			f.err = fmt.Errorf("there is no database at %s yet", cfg.SQLite())
			f.remedy = "start gatehouse serve, or run gatehouse migrate"
			return f
		}
	}
	pending, err := db.Pending(ctx, database(cfg, nil))
	switch {
	case err != nil:
		f.err, f.remedy = err, "check that the database runs, and the URL and password of --database"
	case pending:
		f.err = errors.New("older than this binary")
		f.remedy = "run gatehouse migrate; serve does so too if its role may"
	}
	return f
}

// maxClockSkew is the maximum distance between the clocks of this machine and of the database.
// Beyond a minute tokens are refused, so half of it leaves time to act.
const maxClockSkew = 30 * time.Second

func clockFinding(ctx context.Context, d *db.DB) finding {
	f := finding{subject: "clock", note: "the database's"}
	theirs, err := d.ServerTime(ctx)
	if err != nil {
		f.err, f.remedy = err, "check the connection to the database"
		return f
	}
	off := (clock.System{}).Now().Sub(theirs).Abs()
	if f.note = fmt.Sprintf("%s from the database's", off.Round(time.Millisecond)); off > maxClockSkew {
		f.err = fmt.Errorf("%s away from the database's", off.Round(time.Second))
		f.remedy = "synchronise both machines' clocks (NTP)"
	}
	return f
}

// contents checks what is stored: an owner of the platform, and signing keys that the key ring
// opens.
func contents(ctx context.Context, cfg *config.Config, d *db.DB) []finding {
	owner := finding{subject: "platform owner", note: "there is one"}
	signing := finding{subject: "signing keys", note: "opened by the configured key ring"}
	tenants := tenant.NewDirectory(d, cfg.PublicURL, clock.System{}, slog.New(slog.DiscardHandler))
	site, err := tenants.BySlug(ctx, tenant.PlatformSlug)
	if err != nil {
		owner.err, owner.remedy = err, "start gatehouse serve once, which creates the platform tenant"
		return []finding{owner}
	}
	c := system(site.Tenant, "doctor")
	owned, err := db.Read(ctx, d, c, func(tx *db.Tx) (bool, error) { return role.Owned(ctx, tx) })
	if err == nil && !owned {
		err = errors.New("the platform has no owner yet")
	}
	owner.err = err
	owner.remedy = "use the link that serve prints, or gatehouse admin reset-owner --email you@example.com"
	keyRing, _, err := ring(cfg)
	if err == nil {
		err = signingkey.New(d, keyRing, clock.System{}, tenant.Touch).Check(ctx, c)
	}
	signing.err = err
	signing.remedy = "give --keys the ring that sealed the database; older keys may follow the current one"
	return []finding{owner, signing}
}
