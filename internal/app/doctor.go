package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

type doctorCommand struct {
	config.Flags `embed:""`
}

var errUnhealthy = errors.New("something needs attention; see the lines marked ✗ above")

// Run checks everything that serving needs and changes nothing. It prints each fault with its
// remedy, and fails if one keeps the server from serving.
func (c *doctorCommand) Run(e *env) error {
	cfg, _, err := e.load(c.Flags)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.out, "✓ configuration: valid")
	healthy := true
	for _, f := range examine(e.ctx, cfg) {
		switch {
		case f.err == nil:
			fmt.Fprintf(e.out, "✓ %s: %s\n", f.subject, f.note)
		case f.warning:
			fmt.Fprintf(e.out, "! %s\n%s", f.text(), db.Advise(f.err))
		default:
			healthy = false
			fmt.Fprintf(e.out, "✗ %s\n%s", f.text(), db.Advise(f.err))
		}
	}
	if !healthy {
		return errUnhealthy
	}
	return nil
}

func examine(ctx context.Context, cfg *config.Config) []finding {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out := []finding{filesFinding(cfg), dataFinding(cfg)}
	for _, f := range portFindings(cfg) {
		f.warning = true // a running server uses them
		out = append(out, f)
	}
	out = append(out, outsideFindings(ctx, cfg)...)
	schema := schemaFinding(ctx, cfg)
	out = append(out, schema)
	if schema.err != nil && !schema.newer {
		if err := db.MayStart(ctx, database(cfg, nil)); schema.warning && err != nil {
			out = append(out, finding{subject: "owner", err: err,
				remedy: "see docs/guides/postgres.md for the roles that it needs"})
		}
		return out
	}
	d, err := db.Open(ctx, database(cfg, nil))
	if err != nil {
		return append(out, unusable(cfg, "--database", err))
	}
	defer d.Close()
	note := "SQLite, for one machine: no replicas"
	if d.Name() == "postgres" {
		note = "Postgres; the serving role cannot bypass row-level security, and every tenant table forces it"
	}
	out = append(out, finding{subject: "database", note: note}, clockFinding(ctx, d))
	for _, a := range d.Advice() {
		out = append(out, finding{
			subject: "rights on the database", err: errors.New(a.What), remedy: a.Remedy, warning: true,
		})
	}
	return append(out, contents(ctx, cfg, d)...)
}

// contents checks what is stored: secrets that the key ring opens, and an owner of the platform.
func contents(ctx context.Context, cfg *config.Config, d *db.DB) []finding {
	owner := finding{subject: "platform owner", note: "there is one", warning: true}
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
	owner.remedy = "use the link that serve prints, or gatehouse admin reset-owner --create --email you@example.com"
	return []finding{keysFinding(ctx, cfg, d, c), owner}
}
