package internal

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// owners names the package of each table: the only one that writes it. A package reads the tables
// of those that stand before it, in a join that saves a round trip, and never of one that stands
// later.
var owners = map[string]string{
	"jobs": "internal/kit/job", "job_tenants": "internal/kit/job",
	"idempotency_keys": "internal/kit/api",
	"audit_events":     "internal/iam/audit", "access_records": "internal/iam/audit",
	"tenants": "internal/iam/tenant", "tenant_domains": "internal/iam/tenant", "config_clock": "internal/iam/tenant",
	"retired_names": "internal/iam/tenant", "schema_support": "internal/kit/db",
	"users": "internal/iam/user", "user_terms": "internal/iam/user",
	"groups": "internal/iam/group", "group_members": "internal/iam/group",
	"roles": "internal/iam/role", "role_grants": "internal/iam/role", "owner_locks": "internal/iam/role",
	"passwords": "internal/iam/credential", "totp_factors": "internal/iam/credential",
	"recovery_codes": "internal/iam/credential", "mailed_links": "internal/iam/credential",
	"attempt_counters": "internal/iam/attempt", "invitations": "internal/iam/invitation",
	"applications":     "internal/iam/application",
	"resource_servers": "internal/iam/resourceserver", "resource_server_applications": "internal/iam/resourceserver",
	"sessions": "internal/iam/session", "console_sessions": "internal/iam/session",
	"signing_keys": "internal/iam/signingkey", "subject_secrets": "internal/iam/subject",
	"grants": "internal/iam/grant", "authorization_codes": "internal/iam/grant",
	"refresh_tokens": "internal/iam/grant", "session_applications": "internal/iam/grant",
	"access_tokens": "internal/iam/grant", "consents": "internal/iam/grant", "used_jtis": "internal/iam/grant",
	"device_authorizations": "internal/iam/grant",
	"policy_drafts":         "internal/iam/policy", "policy_draft_files": "internal/iam/policy",
	"policy_revisions": "internal/iam/policy", "policy_settings": "internal/iam/policy",
	"decisions": "internal/iam/decision", "decision_settings": "internal/iam/decision",
	"policy_replays": "internal/iam/decision",
	"signin_flows":   "internal/iam/signin",
	"logout_notices": "internal/iam/logout",
	"limit_notices":  "internal/iam/tenant",
	"usage_days":     "internal/iam/usage", "usage_people": "internal/iam/usage",
	"usage_rollups": "internal/iam/usage", "usage_months": "internal/iam/usage",
}

var statementRE = regexp.MustCompile(`\b(INSERT INTO|UPDATE|DELETE FROM|FROM|JOIN)\s+([a-z_]+)`)

func TestOnlyItsOwnerWritesATable(t *testing.T) {
	found := map[string]bool{}
	for _, s := range sources(t) {
		floor, rank, _ := place(s.dir)
		if s.test || trial(s.dir) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			for _, m := range statementRE.FindAllStringSubmatch(lit.Value, -1) {
				owner, table := owners[m[2]], m[2]
				f, r, _ := place(owner)
				switch {
				case owner == "" || owner == s.dir:
					found[table] = found[table] || owner != ""
				case m[1] != "FROM" && m[1] != "JOIN":
					t.Errorf("%s writes %s, which belongs to %s: call a function of that package", s.path, table, owner)
				case f > floor || f == floor && r > rank:
					t.Errorf("%s reads %s of %s, which stands later: take the answer as an argument", s.path, table,
						owner)
				}
			}
			return true
		})
	}
	for table, owner := range owners {
		if !found[table] {
			t.Errorf("%s has no statement on its table %s", owner, table)
		}
	}
}

func TestEveryTableHasAnOwner(t *testing.T) {
	files, err := filepath.Glob("../migrations/sqlite/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("no migrations", err)
	}
	tables := map[string]string{}
	stepRE := regexp.MustCompile(
		`(?m)^\s*(?:CREATE TABLE (?:IF NOT EXISTS )?([a-z_]+)|DROP TABLE (?:IF EXISTS )?([a-z_]+)|` +
			`ALTER TABLE ([a-z_]+) RENAME TO ([a-z_]+))`)
	slices.Sort(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		for _, m := range stepRE.FindAllStringSubmatch(up, -1) {
			delete(tables, m[2])
			delete(tables, m[3])
			for _, made := range []string{m[1], m[4]} {
				if made != "" {
					tables[made] = file
				}
			}
		}
	}
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		if owners[table] == "" {
			t.Errorf("%s makes %s, which has no owner: name one in internal/tables_test.go", tables[table], table)
		}
	}
	for table := range owners {
		if tables[table] == "" {
			t.Errorf("%s has an owner and is made by no migration", table)
		}
	}
}
