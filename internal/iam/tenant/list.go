package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// Filter narrows and sorts a list of tenants. A zero field does not.
type Filter struct {
	Status Status
	Search string // a part of the name, the slug or a domain, in any case
	Sort   Sort   // zero: ByCreation
}

// Sort is the order of a list of tenants. A hyphen before it reverses the order.
type Sort string

// The orders.
const (
	ByCreation Sort = "created_at"
	ByName     Sort = "name" // in any case
	BySlug     Sort = "slug"
)

// sortedBy has the expression of each order. Ids are in the order of creation, and tell tenants
// with one name apart.
var sortedBy = map[Sort]string{ByCreation: "", ByName: "lower(name)", BySlug: "slug"}

// List returns the tenants that f lets through, also those that are being deleted.
func List(ctx context.Context, st *db.SystemTx, f Filter, p page.Request) (page.List[Tenant], error) {
	var wrong fault.Fields
	key, known := sortedBy[Sort(strings.TrimPrefix(string(f.Sort), "-"))]
	if !known && f.Sort != "" {
		wrong.Add("sort", "The order is one of created_at, name and slug, with a hyphen before it to reverse it.")
	}
	if f.Status != "" && !slices.Contains([]Status{Active, Suspended, Deleting}, f.Status) {
		wrong.Add("status", "The status is one of active, suspended and deleting.")
	}
	if err := wrong.Err("tenant.invalid"); err != nil {
		return page.List[Tenant]{}, err
	}
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	query := `SELECT ` + columns + ` FROM tenants WHERE true`
	if f.Status != "" {
		query += ` AND status = ` + arg(string(f.Status))
	}
	if typed := strings.TrimSpace(strings.ToValidUTF8(f.Search, "")); typed != "" {
		// lower knows only ASCII on SQLite, so a name also matches as it was typed.
		lower := arg(part(strings.ToLower(typed)))
		query += ` AND (lower(name) LIKE ` + lower + ` ESCAPE '!' OR name LIKE ` + arg(part(typed)) + ` ESCAPE '!'
			OR slug LIKE ` + lower + ` ESCAPE '!'
			OR id IN (SELECT tenant_id FROM tenant_domains WHERE domain LIKE ` + lower + ` ESCAPE '!'))`
	}
	than, direction := ` > `, ``
	if strings.HasPrefix(string(f.Sort), "-") {
		than, direction = ` < `, ` DESC`
	}
	order := ` ORDER BY id` + direction
	if key != "" {
		order = ` ORDER BY ` + key + direction + `, id` + direction
	}
	if !p.After.IsZero() {
		after := arg(p.After)
		if key == "" {
			query += ` AND id` + than + after
		} else {
			query += ` AND (` + key + `, id)` + than + `(SELECT ` + key + `, id FROM tenants WHERE id = ` + after + `)`
		}
	}
	rows, err := db.SystemList(ctx, st, scanTenant, query+order+` LIMIT `+arg(p.Fetch()), args...)
	if err != nil {
		return page.List[Tenant]{}, err
	}
	l := page.Of(p, rows, func(t Tenant) id.ID { return t.ID })
	return l, readDomains(ctx, st, l.Items)
}

// part returns the pattern of LIKE for texts that contain s.
func part(s string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s) + "%"
}

// readDomains reads the domains of tenants.
func readDomains(ctx context.Context, st *db.SystemTx, tenants []Tenant) error {
	if len(tenants) == 0 {
		return nil
	}
	at, args, places := map[id.ID]int{}, make([]any, len(tenants)), make([]string, len(tenants))
	for i, t := range tenants {
		at[t.ID], args[i], places[i] = i, t.ID, fmt.Sprintf("$%d", i+1)
	}
	type owned struct {
		tenant id.ID
		domain string
	}
	domains, err := db.SystemList(ctx, st, func(row db.Row) (owned, error) {
		var o owned
		err := row.Scan(&o.tenant, &o.domain)
		return o, err
	}, `SELECT tenant_id, domain FROM tenant_domains WHERE tenant_id IN (`+strings.Join(places, ", ")+`)
		ORDER BY domain`, args...)
	for _, o := range domains {
		t := &tenants[at[o.tenant]]
		t.Domains = append(t.Domains, o.domain)
	}
	return err
}
