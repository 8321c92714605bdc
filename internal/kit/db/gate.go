package db

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// gate is the second lock. It reads each statement once, before its first use, and refuses one that
// is not bound to a tenant. It caches the verdict.
type gate struct {
	tenantTables map[string]bool
	systemTables map[string]bool
	seen         sync.Map // statement text → *verdict
	observer     atomic.Pointer[func(sql string)]
}

type verdict struct {
	tables map[string]string // name or alias → tenant table
	err    error
}

var (
	wordRE    = regexp.MustCompile(`[a-z_][a-z0-9_]*`)
	literalRE = regexp.MustCompile(`'[^']*'`)
	// tenant_id = $1, with or without a qualifier
	boundRE = regexp.MustCompile(`\btenant_id\s*=\s*\$1\b`)
	// INSERT INTO t (tenant_id, …) VALUES ($1, …  or  SELECT $1, …
	insertRE = regexp.MustCompile(
		`^\s*insert\s+into\s+([a-z_]+)(?:\s+as\s+[a-z_]+)?\s*\(\s*tenant_id\s*,[^)]*\)\s*(?:values\s*\(\s*\$1\b|select\s+\$1\b)`)
	aliasRE = regexp.MustCompile(`\b(?:from|join|update|into|,)\s+([a-z_]+)(?:\s+as)?\s+([a-z_]+)\b`)
	// every further row of a multi-row insert must name the tenant too
	rowsRE = regexp.MustCompile(`\)\s*,\s*\(\s*([^,)]*)`)
)

// What a statement compares tenant_id with. SQLite's plan shows tenant_id=? for any parameter, so
// the text must say which: $1, or the tenant_id of another table, which is bound in turn.
var (
	comparedRE = regexp.MustCompile(
		`\btenant_id\s*(=+|<>|!=|[<>]=?|\|\||[-+*/%&|]|\b(?:is|in|not|between|like|glob|match|collate|as)\b)\s*(\S*)`)
	operandRE  = regexp.MustCompile(`^(?:\$1(?:[^0-9]|$)|[a-z_]+\.tenant_id\b)`)
	reversedRE = regexp.MustCompile(`(\$[0-9]+|[^a-z0-9_\s])\s*(?:[=<>]|\bis\b|\blike\b)\s*(?:[a-z_]+\.)?tenant_id\b`)
	rowValueRE = regexp.MustCompile(`\(\s*(?:[a-z_]+\.)?tenant_id\s*,[^()]*\)\s*(?:[=<>!]|\b(?:in|is|not)\b)`)
)

// otherTenant returns the part of a statement that compares tenant_id with something else than the
// bound tenant, or "".
func otherTenant(text string) string {
	for _, m := range comparedRE.FindAllStringSubmatch(text, -1) {
		if m[1] != "=" || !operandRE.MatchString(m[2]) {
			return m[0]
		}
	}
	for _, m := range reversedRE.FindAllStringSubmatch(text, -1) {
		if m[1] != "$1" {
			return m[0]
		}
	}
	return rowValueRE.FindString(text)
}

// sqlWords are the keywords that may follow a table's name without being its alias.
var sqlWords = map[string]bool{
	"where": true, "set": true, "join": true, "left": true, "inner": true, "on": true, "order": true, "group": true,
	"limit": true, "using": true, "union": true, "values": true, "select": true, "returning": true, "cross": true,
	"having": true, "as": true, "indexed": true, "not": true, "except": true, "intersect": true, "default": true,
}

func newGate(tenantTables, systemTables []string) *gate {
	g := &gate{tenantTables: map[string]bool{}, systemTables: map[string]bool{}}
	for _, t := range tenantTables {
		g.tenantTables[t] = true
	}
	for _, t := range systemTables {
		g.systemTables[t] = true
	}
	return g
}

// check returns the verdict on a statement. system is true for a statement that runs without a
// tenant.
func (g *gate) check(sql string, system bool) (*verdict, error) {
	key := sql
	if system {
		key = "system\x00" + sql
	}
	if v, ok := g.seen.Load(key); ok {
		v := v.(*verdict)
		return v, v.err
	}
	v := g.read(sql, system)
	g.seen.Store(key, v)
	return v, v.err
}

func (g *gate) read(sql string, system bool) *verdict {
	refuse := func(format string, args ...any) *verdict {
		return &verdict{err: fmt.Errorf("db: %w: %s\n%s", ErrTenancy, fmt.Sprintf(format, args...), sql)}
	}
	text := strings.ToLower(literalRE.ReplaceAllString(sql, "''"))
	if strings.Contains(text, "--") || strings.Contains(text, "/*") || strings.Contains(text, ";") ||
		strings.Contains(text, `"`) {
		return refuse("comments, semicolons and quoted names are not accepted")
	}
	v := &verdict{tables: map[string]string{}}
	for _, w := range wordRE.FindAllString(text, -1) {
		if g.tenantTables[w] {
			v.tables[w] = w
		}
	}
	for _, m := range aliasRE.FindAllStringSubmatch(text, -1) {
		if g.tenantTables[m[1]] && !sqlWords[m[2]] {
			v.tables[m[2]] = m[1]
		}
	}
	if system {
		if len(v.tables) > 0 {
			return refuse("a statement of System may not touch a tenant table; use For(tenant)")
		}
		return v
	}
	if !strings.Contains(text, "$1") {
		return refuse("$1 is always the tenant: name it, or use System")
	}
	if len(v.tables) == 0 {
		return v
	}
	if part := otherTenant(text); part != "" {
		return refuse("tenant_id may be compared with $1 only, not as in %q", part)
	}
	if m := insertRE.FindStringSubmatch(text); m != nil {
		if _, rest, ok := strings.Cut(text, "values"); ok {
			body, _, _ := strings.Cut(rest, "on conflict")
			for _, row := range rowsRE.FindAllStringSubmatch(body, -1) {
				if strings.TrimSpace(row[1]) != "$1" {
					return refuse("every inserted row must start with $1")
				}
			}
		}
		if !strings.Contains(text, "select") || boundRE.MatchString(text) || len(v.tables) == 1 {
			return v
		}
		return refuse("the SELECT of an INSERT must say tenant_id = $1")
	}
	if !boundRE.MatchString(text) {
		return refuse("it must say tenant_id = $1")
	}
	return v
}

var placeholderRE = regexp.MustCompile(`\$([0-9]+)`)

// sqliteText rewrites $n for SQLite and returns the largest n, which is the number of arguments.
// SQLite takes $n for a named parameter and binds it by order of appearance: that would write to
// the wrong columns in silence. So $n becomes ?n.
//
// It becomes a plain ? if n is the next number after the largest so far, which SQLite gives to ?
// anyway. ?n counts as a name too, and the driver asks SQLite for the name of each parameter, a
// search among all of them.
func sqliteText(sql string) (string, int) {
	var largest int
	text := placeholderRE.ReplaceAllStringFunc(sql, func(p string) string {
		n, _ := strconv.Atoi(p[1:]) // digits; SQLite refuses what does not fit
		if n == largest+1 {
			largest = n
			return "?"
		}
		largest = max(largest, n)
		return "?" + p[1:]
	})
	return text, largest
}

var (
	planRE = regexp.MustCompile(`^(?:SCAN|SEARCH) (?:TABLE )?([A-Za-z_][A-Za-z0-9_]*)`)
	cteRE  = regexp.MustCompile(`(?i)(?:\bwith(?:\s+recursive)?|,)\s+([a-z_]+)(?:\s*\([^)]*\))?\s+as\s*\(`)
	subRE  = regexp.MustCompile(`(?i)\)\s*(?:as\s+)?([a-z_]+)`)
)

// checkPlan is the fourth lock on SQLite. Each line of EXPLAIN QUERY PLAN that reaches a tenant
// table must do so by tenant_id=?. It fails closed: it refuses a name that it cannot explain.
func (g *gate) checkPlan(sql string, v *verdict, plan []string) error {
	derived := map[string]bool{"CONSTANT": true, "SUBQUERY": true}
	for _, re := range []*regexp.Regexp{cteRE, subRE} {
		for _, m := range re.FindAllStringSubmatch(sql, -1) {
			derived[m[1]] = true
		}
	}
	for _, line := range plan {
		m := planRE.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := m[1]
		if _, tenant := v.tables[strings.ToLower(name)]; !tenant {
			if g.systemTables[name] || derived[name] || g.isSystemAlias(sql, name) {
				continue
			}
		}
		if !strings.Contains(line, "tenant_id=?") {
			return fmt.Errorf("db: %w: the plan reaches %s without tenant_id=? (%s)\n%s", ErrTenancy, name, line, sql)
		}
	}
	return nil
}

func (g *gate) isSystemAlias(sql, name string) bool {
	for _, m := range aliasRE.FindAllStringSubmatch(strings.ToLower(sql), -1) {
		if m[2] == strings.ToLower(name) && g.systemTables[m[1]] {
			return true
		}
	}
	return false
}
