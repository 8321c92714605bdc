package tenant

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

const columns = `id, slug, name, status, settings, config_version, created_at, updated_at, signed_out_at, limits`

func scanTenant(row db.Row) (Tenant, error) {
	t := Tenant{Domains: []string{}}
	var settings, limits string
	err := row.Scan(&t.ID, &t.Slug, &t.Name, &t.Status, &settings, &t.Version, &t.CreatedAt, &t.UpdatedAt,
		&t.SignedOutAt, &limits)
	if err != nil {
		return Tenant{}, err
	}
	if t.Limits, err = parseLimits(limits); err != nil {
		return Tenant{}, err
	}
	t.Settings, err = parseSettings(settings)
	return t, err
}

// fields returns what the audit log compares of a tenant. Settings have their own names, as in the
// API.
func (t Tenant) fields() any {
	return map[string]any{"name": t.Name, "domains": t.Domains, "settings": t.Settings, "limits": t.Limits}
}

// within returns c for another tenant.
func within(c caller.Caller, tenant id.ID) caller.Caller {
	c.Tenant = tenant
	return c
}

func missing(err error) bool { return errors.Is(err, db.ErrNoRows) }

// New has the fields of a tenant to create.
type New struct {
	Slug     string
	Name     string
	Settings *Settings // nil: DefaultSettings
	Limits   Limits
	Domains  []string
}

// Create adds a tenant. It writes one row, one for each domain, the version of the configuration
// and the audit event, whatever the number of tenants. Keys, roles and everything else are created
// when they are first needed. It fails with an Invalid fault that names every wrong field,
// ErrSlugTaken, ErrDomainTaken or ErrNameRetired.
func Create(ctx context.Context, st *db.SystemTx, n New) (Tenant, error) {
	t := Tenant{ID: id.New(), Slug: n.Slug, Name: n.Name, Status: Active, Domains: []string{},
		Settings: DefaultSettings(), Limits: n.Limits, CreatedAt: st.Now(), UpdatedAt: st.Now()}
	if n.Settings != nil {
		t.Settings = *n.Settings
	}
	var wrong fault.Fields
	if !ValidSlug(t.Slug) {
		wrong.Add("slug",
			"A slug has 1 to 63 lower-case letters, digits and hyphens, and begins and ends with a letter or digit.")
	}
	checkName(&t.Name, &wrong)
	t.Settings.check("settings.", &wrong)
	t.Limits.check(&wrong)
	if len(n.Domains) > 0 {
		t.Domains = checkDomains(n.Domains, &wrong)
	}
	if err := wrong.Err("tenant.invalid"); err != nil {
		return Tenant{}, err
	}
	inserted, err := st.Exec(ctx,
		`INSERT INTO tenants (id, slug, name, status, settings, created_at, updated_at, limits)
		VALUES ($1, $2, $3, $4, $5, $6, $6, $7) ON CONFLICT (slug) DO NOTHING`,
		t.ID, t.Slug, t.Name, string(t.Status), t.Settings.text(), t.CreatedAt, t.Limits.text())
	if err != nil {
		return Tenant{}, err
	}
	if inserted == 0 {
		return Tenant{}, ErrSlugTaken
	}
	tx := st.For(t.ID)
	if err := checkRetired(ctx, tx, "slug", t.Slug); err != nil {
		return Tenant{}, err
	}
	if err := setDomains(ctx, tx, nil, t.Domains); err != nil {
		return Tenant{}, err
	}
	audit.Write(tx, audit.Event{Action: "tenant.create", Target: t.target(), Changed: audit.Changed(nil, t.fields())})
	Touch(tx)
	return t, nil
}

// EnsurePlatform creates the platform tenant if it is missing, and returns it.
func EnsurePlatform(ctx context.Context, d *db.DB) (Tenant, error) {
	c := caller.Caller{Actor: caller.Actor{Kind: caller.System, Name: "first start"}}
	t, err := db.SystemWrite(ctx, d, c, "the platform tenant exists before any other",
		func(st *db.SystemTx) (Tenant, error) {
			found, err := db.SystemOne(ctx, st, scanTenant, `SELECT `+columns+` FROM tenants WHERE slug = $1`,
				PlatformSlug)
			if missing(err) {
				return Create(ctx, st, New{Slug: PlatformSlug, Name: "Platform"})
			}
			return found, err
		})
	if errors.Is(err, ErrSlugTaken) { // another replica was first
		return EnsurePlatform(ctx, d)
	}
	return t, err
}

// hold is Get for a tenant that is about to change: its row is locked until the transaction ends.
func hold(ctx context.Context, tx *db.Tx) (Tenant, error) {
	if _, err := tx.Exec(ctx, `UPDATE tenants SET updated_at = updated_at WHERE id = $1`); err != nil {
		return Tenant{}, err
	}
	return Get(ctx, tx)
}

// Get returns the tenant that tx is bound to, of any status, or ErrNotFound.
func Get(ctx context.Context, tx *db.Tx) (Tenant, error) {
	if tx.Tenant().IsZero() { // an id of zeros, from a path
		return Tenant{}, ErrNotFound
	}
	t, err := db.One(ctx, tx, scanTenant, `SELECT `+columns+` FROM tenants WHERE id = $1`)
	if missing(err) {
		return Tenant{}, ErrNotFound
	}
	if err != nil {
		return Tenant{}, err
	}
	t.Domains, err = db.List(ctx, tx, db.Column[string],
		`SELECT domain FROM tenant_domains WHERE tenant_id = $1 ORDER BY domain`)
	return t, err
}

// Patch says what to change of a tenant. A nil field stays as it is.
type Patch struct {
	Name     *string
	Domains  *[]string       // all of them: the tenant loses any other
	Settings func(*Settings) // edits a copy
	Limits   func(*Limits)   // edits a copy; not of the platform tenant
}

// Update changes the tenant that tx is bound to. It fails with ErrNotFound, ErrDeleting,
// ErrDomainTaken, ErrNameRetired, or an Invalid fault that names every wrong field.
func Update(ctx context.Context, tx *db.Tx, p Patch) (Tenant, error) {
	t, err := Get(ctx, tx)
	if err != nil {
		return Tenant{}, err
	}
	if t.Status == Deleting {
		return Tenant{}, ErrDeleting
	}
	before := t
	var wrong fault.Fields
	if p.Name != nil {
		t.Name = *p.Name
		checkName(&t.Name, &wrong)
	}
	if p.Settings != nil {
		p.Settings(&t.Settings)
		t.Settings.check("settings.", &wrong)
	}
	if p.Limits != nil {
		p.Limits(&t.Limits)
		t.Limits.check(&wrong)
		if t.Slug == PlatformSlug && t.Limits != before.Limits {
			wrong.Add("limits", "The platform tenant has no limits.")
		}
	}
	if p.Domains != nil {
		t.Domains = checkDomains(*p.Domains, &wrong)
	}
	if err := wrong.Err("tenant.invalid"); err != nil {
		return Tenant{}, err
	}
	changed := audit.Changed(before.fields(), t.fields())
	if len(changed) == 0 {
		return t, nil
	}
	if err := write(ctx, tx, &t); err != nil {
		return Tenant{}, err
	}
	if p.Domains != nil {
		if err := setDomains(ctx, tx, before.Domains, t.Domains); err != nil {
			return Tenant{}, err
		}
	}
	audit.Write(tx, audit.Event{Action: "tenant.update", Target: t.target(), Changed: changed})
	Touch(tx)
	return t, nil
}

func checkDomains(domains []string, wrong *fault.Fields) []string {
	if len(domains) > maxDomains {
		wrong.Add("domains", "A tenant may have at most %d domains.", maxDomains)
		return nil
	}
	out := slices.Sorted(slices.Values(domains))
	for i, d := range out {
		if !validDomain(d) {
			wrong.Add("domains",
				"%.80q is not a host name in lower case such as login.example.com. Write letters beyond a to z as "+
					"xn--….", d)
		} else if i > 0 && out[i-1] == d {
			wrong.Add("domains", "%s is in the list twice.", d)
		}
	}
	return out
}

func setDomains(ctx context.Context, tx *db.Tx, before, after []string) error {
	for _, d := range before {
		if !slices.Contains(after, d) {
			tx.Later(`DELETE FROM tenant_domains WHERE tenant_id = $1 AND domain = $2`, d)
		}
	}
	for _, d := range after {
		if slices.Contains(before, d) {
			continue
		}
		n, err := tx.Exec(ctx, `INSERT INTO tenant_domains (tenant_id, domain, created_at) VALUES ($1, $2, $3)
			ON CONFLICT (domain) DO NOTHING`, d, tx.Now())
		if err != nil {
			return err
		}
		if n == 0 {
			f := *ErrDomainTaken
			f.Fields = []fault.Field{{Name: "domains", Reason: "Another tenant has the domain " + d + "."}}
			return &f
		}
		if err := checkRetired(ctx, tx, "domains", d); err != nil {
			return err
		}
	}
	return nil
}

// write stores what can change of t, unless it changed after it was read. A tenant's status counts
// in every decision, as a principal does (Versions), so write waits for replicas too.
func write(ctx context.Context, tx *db.Tx, t *Tenant) error {
	tx.Settle(settle)
	read := t.UpdatedAt
	if t.UpdatedAt = tx.Now(); !t.UpdatedAt.After(read) {
		t.UpdatedAt = read.Add(time.Microsecond)
	}
	n, err := tx.Exec(ctx,
		`UPDATE tenants SET name = $2, status = $3, settings = $4, updated_at = $5, limits = $7
		WHERE id = $1 AND updated_at = $6`,
		t.Name, string(t.Status), t.Settings.text(), t.UpdatedAt, read, t.Limits.text())
	if err == nil && n == 0 {
		err = errChanged
	}
	return err
}

// SetStatus suspends or resumes the tenant that tx is bound to. It fails with ErrNotFound,
// ErrPlatform or ErrDeleting.
func SetStatus(ctx context.Context, tx *db.Tx, s Status) (Tenant, error) {
	return change(ctx, tx, s, statusAction[s])
}

// SignOut ends all sessions and grants of the tenant that tx is bound to. It takes one row, however
// many there are: what was made until now does not count. It fails with ErrNotFound.
func SignOut(ctx context.Context, tx *db.Tx) error {
	t, err := Get(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE tenants SET signed_out_at = $2 WHERE id = $1`, tx.Now()); err != nil {
		return err
	}
	audit.Write(tx, audit.Event{Action: "tenant.sign_out", Target: t.target()})
	Touch(tx)
	return nil
}

var statusAction = map[Status]string{Active: "tenant.resume", Suspended: "tenant.suspend"}

func change(ctx context.Context, tx *db.Tx, s Status, action string) (Tenant, error) {
	t, err := Get(ctx, tx)
	switch {
	case err != nil:
		return Tenant{}, err
	case t.Status == Deleting:
		return Tenant{}, ErrDeleting
	case t.Slug == PlatformSlug && s != Active:
		return Tenant{}, ErrPlatform
	case action == "":
		return Tenant{}, fault.InvalidField("tenant.invalid", "status", "The status must be active or suspended.")
	case t.Status == s:
		return t, nil
	}
	changed := audit.Changes{}.With("status", t.Status, s)
	t.Status = s
	if err := write(ctx, tx, &t); err != nil {
		return Tenant{}, err
	}
	audit.Write(tx, audit.Event{Action: action, Target: t.target(), Changed: changed})
	Touch(tx)
	return t, nil
}
