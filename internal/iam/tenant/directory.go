package tenant

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

const (
	directorySize = 20_000 // tenants, and names of tenants
	unknownSize   = 4_096  // names that no tenant has
	pollEvery     = time.Second
	// pollLimit is how long one poll may take. A connection may be silent for ever.
	pollLimit = 2 * time.Second
	// stale is how long a replica that cannot poll trusts its copies.
	stale = 5 * time.Second
)

// Directory keeps a replica's copies of tenants and of their names. It is safe for concurrent use.
// It is the web.SiteResolver.
type Directory struct {
	db     *db.DB
	clock  clock.Clock
	log    *slog.Logger
	scheme string // of the public URL, with "://"
	host   string // of the public URL, with its port if it has one
	port   string // ":8080", or ""

	tenants *cache.Cache[struct{}, *Tenant]
	names   *cache.Cache[name, holder] // checked against the tenant at each use
	changes atomic.Uint64              // of any tenant

	mu      sync.Mutex
	version int64 // of the configuration as last polled
	polled  time.Time
	dropped time.Time // when distrust last dropped every copy
	hooks   []func(id.ID)
}

// holder is the tenant that has a name. The zero tenant stands for a name that no tenant had after
// so many changes.
type holder struct {
	tenant  id.ID
	changes uint64
}

// directory is the caller of what the directory reads. It reads for no single request.
var directory = caller.Caller{Actor: caller.Actor{Kind: caller.System, Name: "directory"}}

// name is a slug or a domain.
type name struct {
	domain bool
	text   string
}

// NewDirectory returns the directory of the tenants of d, which are reached below public. Run Poll
// beside it.
func NewDirectory(d *db.DB, public *url.URL, c clock.Clock, log *slog.Logger) *Directory {
	dir := &Directory{db: d, clock: c, log: log, scheme: public.Scheme + "://", host: public.Host, tenants: cache.New[struct{}](cache.Options[*Tenant]{Max: directorySize})}
	dir.names = cache.New[name](cache.Options[holder]{Max: directorySize + unknownSize,
		Valid: func(h holder) bool { return !h.tenant.IsZero() || h.changes == dir.changes.Load() }})
	if p := public.Port(); p != "" {
		dir.port = ":" + p
	}
	d.Watch(dir.drop)
	return dir
}

// Watch registers f for each tenant whose configuration changed on any replica. The zero id means
// that any tenant's may have. f drops its copies of that tenant. Register before Poll begins.
func (d *Directory) Watch(f func(tenant id.ID)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hooks = append(d.hooks, f)
}

// drop drops the copy of a tenant, of every tenant for the zero id, and calls the functions of
// Watch.
func (d *Directory) drop(tenant id.ID) {
	d.changes.Add(1)
	d.mu.Lock()
	hooks := d.hooks
	d.mu.Unlock()
	d.tenants.Drop(tenant)
	for _, f := range hooks {
		f(tenant)
	}
}

// ByID returns a tenant of any status, or ErrNotFound.
func (d *Directory) ByID(ctx context.Context, tenant id.ID) (*Tenant, error) {
	if tenant.IsZero() {
		return nil, ErrNotFound
	}
	d.distrust()
	return d.tenants.Get(ctx, tenant, struct{}{}, func(ctx context.Context) (*Tenant, error) {
		t, err := db.Read(ctx, d.db, within(directory, tenant), func(tx *db.Tx) (Tenant, error) { return Get(ctx, tx) })
		return &t, err
	})
}

// current fails if this replica could not poll for longer than it trusts its copies.
func (d *Directory) current() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if since := d.clock.Now().Sub(d.polled); !d.polled.IsZero() && since > stale {
		return fmt.Errorf("changes of the configuration were last read %s ago", since.Round(time.Second))
	}
	return nil
}

// Ready fails unless this replica can do what it promises: hear of changes, and write. It writes
// one row without changing it. A nearly full disk may still take that, so it also asks whether
// other writes were refused.
func (d *Directory) Ready(ctx context.Context) error {
	if err := d.current(); err != nil {
		return err
	}
	if err := d.db.Willing(); err != nil {
		return err
	}
	return d.db.System(ctx, directory, "try to write", func(st *db.SystemTx) error {
		_, err := st.Exec(ctx, `UPDATE config_clock SET version = version WHERE id = 1`)
		return err
	})
}

// distrust drops every copy if this replica could not poll for longer than it trusts them. Each
// read of a tenant asks, because the poller itself may hang. While no poll succeeds, copies serve
// for as long as the time between two polls.
func (d *Directory) distrust() {
	now := d.clock.Now()
	d.mu.Lock()
	old := !d.polled.IsZero() && now.Sub(d.polled) > stale && now.Sub(d.dropped) > pollEvery
	if old {
		d.dropped = now
	}
	d.mu.Unlock()
	if old {
		d.drop(id.ID{})
	}
}

// Issuer returns the base of a tenant on the public host: "https://id.example.com/t/acme".
func (d *Directory) Issuer(slug string) string { return d.scheme + d.host + "/t/" + slug }

// Site returns the site of a tenant on the public host, for links outside of a request: in mail, in
// first-run messages.
func (d *Directory) Site(t *Tenant) web.Site {
	return web.Site{Tenant: t.ID, Slug: t.Slug, Name: t.Name, Base: d.Issuer(t.Slug), Path: "/t/" + t.Slug}
}

// BySlug implements web.SiteResolver.
func (d *Directory) BySlug(ctx context.Context, slug string) (web.Site, error) {
	if !ValidSlug(slug) {
		return web.Site{}, ErrNotFound
	}
	t, err := d.named(ctx, name{text: slug})
	if t == nil {
		return web.Site{}, err
	}
	return d.Site(t), err
}

// ByDomain implements web.SiteResolver. The base has the public URL's scheme and port.
func (d *Directory) ByDomain(ctx context.Context, host string) (web.Site, error) {
	if !validDomain(host) {
		return web.Site{}, ErrNotFound
	}
	t, err := d.named(ctx, name{domain: true, text: host})
	if t == nil {
		return web.Site{}, err
	}
	return d.siteAt(t, host), err
}

func (d *Directory) siteAt(t *Tenant, host string) web.Site {
	return web.Site{Tenant: t.ID, Slug: t.Slug, Name: t.Name, Base: d.scheme + host + d.port}
}

// Known implements web.SiteResolver.
func (d *Directory) Known(host, slug string) (web.Site, bool) {
	known := func(n name) (*Tenant, bool) {
		h, _ := d.names.Lookup(id.ID{}, n)
		if n.text == "" || h.tenant.IsZero() {
			return nil, false
		}
		t, ok := d.tenants.Lookup(h.tenant, struct{}{})
		return t, ok && t.has(n) && t.Status != Deleting
	}
	if t, ok := known(name{domain: true, text: host}); ok {
		return d.siteAt(t, host), true
	}
	if t, ok := known(name{text: slug}); ok {
		return d.Site(t), true
	}
	return web.Site{}, false
}

// named returns the active tenant that has a name, or a suspended one with ErrSuspended. A copy in
// names is only a hint. If its tenant no longer has the name, named asks the database again.
func (d *Directory) named(ctx context.Context, n name) (*Tenant, error) {
	for range 2 {
		h, hit := d.names.Lookup(id.ID{}, n)
		if !hit {
			var err error
			if h, err = d.find(ctx, n); err != nil {
				return nil, err
			}
		}
		if h.tenant.IsZero() {
			return nil, ErrNotFound
		}
		t, err := d.ByID(ctx, h.tenant)
		if err == nil && t.has(n) && t.Status != Deleting {
			if t.Status == Suspended {
				return t, ErrSuspended
			}
			return t, nil
		}
		if err != nil && err != error(ErrNotFound) {
			return nil, err
		}
		d.names.Forget(id.ID{}, n)
		if !hit {
			break
		}
	}
	return nil, ErrNotFound
}

// ByIssuer returns the site of the active tenant whose base is issuer:
// "https://id.example.com/t/acme", or one of its domains. It fails as BySlug and ByDomain do.
func (d *Directory) ByIssuer(ctx context.Context, issuer string) (web.Site, error) {
	rest, ok := strings.CutPrefix(issuer, d.scheme)
	if !ok {
		return web.Site{}, ErrNotFound
	}
	if slug, ok := strings.CutPrefix(rest, d.host+"/t/"); ok {
		return d.BySlug(ctx, slug)
	}
	host, ok := strings.CutSuffix(rest, d.port)
	if !ok {
		return web.Site{}, ErrNotFound
	}
	return d.ByDomain(ctx, host)
}

// Serves reports whether a URI is an address below some tenant's base. It accepts any case, because
// schemes and hosts have none.
func (d *Directory) Serves(ctx context.Context, uri string) (bool, error) {
	rest, ok := strings.CutPrefix(strings.ToLower(uri), d.scheme)
	if !ok {
		return false, nil
	}
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		if rest[:end] == d.host {
			return strings.HasPrefix(rest[end:], "/t/"), nil
		}
		rest = rest[:end]
	}
	host, ok := strings.CutSuffix(rest, d.port)
	if !ok {
		return false, nil
	}
	_, err := d.ByDomain(ctx, host)
	if k := fault.Of(err); err != nil && k != fault.NotFound && k != fault.Denied {
		return false, err
	}
	return err == nil || fault.Of(err) == fault.Denied, nil // a suspended tenant keeps its domains
}

// Active returns the site of a tenant on the public host, or ErrNotFound, or ErrSuspended.
func (d *Directory) Active(ctx context.Context, tenant id.ID) (web.Site, error) {
	t, err := d.ByID(ctx, tenant)
	switch {
	case err != nil:
		return web.Site{}, err
	case t.Status == Suspended:
		return web.Site{}, ErrSuspended
	case t.Status != Active:
		return web.Site{}, ErrNotFound
	}
	return d.Site(t), nil
}

func (t *Tenant) has(n name) bool {
	if !n.domain {
		return t.Slug == n.text
	}
	for _, d := range t.Domains {
		if d == n.text {
			return true
		}
	}
	return false
}

// find returns the tenant that has a name, from names or from the database.
func (d *Directory) find(ctx context.Context, n name) (holder, error) {
	query, reason := `SELECT id FROM tenants WHERE slug = $1 AND status <> 'deleting'`, "find a tenant by its slug"
	if n.domain {
		query, reason = `SELECT tenant_id FROM tenant_domains WHERE domain = $1`, "find a tenant by its domain"
	}
	n.text = strings.Clone(n.text) // kept longer than the request
	return d.names.Get(ctx, id.ID{}, n, func(ctx context.Context) (holder, error) {
		changes := d.changes.Load()
		tenant, err := db.SystemRead(ctx, d.db, directory, reason, func(st *db.SystemTx) (id.ID, error) {
			return db.SystemOne(ctx, st, db.Column[id.ID], query, n.text)
		})
		if missing(err) {
			err = nil
		}
		return holder{tenant, changes}, err
	})
}

// Poll reads once a second which tenants have changed, until ctx ends. It reads one row, whatever
// the number of tenants.
func (d *Directory) Poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if err := d.PollOnce(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("configuration could not be polled; copies may be out of date", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// PollOnce reads what has changed since the last poll, and drops the copies of it. A replica that
// could not poll for longer than it trusts its copies (stale) drops them all: it may have missed a
// deletion.
func (d *Directory) PollOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollLimit)
	defer cancel()
	d.distrust()
	d.mu.Lock()
	last, first := d.version, d.polled.IsZero()
	d.mu.Unlock()
	began := d.clock.Now()
	type news struct {
		version int64
		changed []id.ID
	}
	now, err := db.SystemRead(ctx, d.db, directory, "ask which tenants' configuration has changed",
		func(st *db.SystemTx) (news, error) {
			version, err := db.SystemOne(ctx, st, db.Column[int64], `SELECT version FROM config_clock WHERE id = 1`)
			if err != nil || first || version == last {
				return news{version: version}, err
			}
			changed, err := db.SystemList(ctx, st, db.Column[id.ID], `SELECT id FROM tenants WHERE config_version > $1`,
				last)
			return news{version, changed}, err
		})
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.version, d.polled = now.version, began
	d.mu.Unlock()
	if first {
		d.drop(id.ID{}) // whatever was read before the first version was known
		return nil
	}
	for _, t := range now.changed {
		d.drop(t)
	}
	return nil
}
