package bench

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// listSize is how much the tenant has whose lists are asked for.
type listSize struct {
	Events, Users int
	Calls         int // of each list, after as many to prepare its statement
}

// listTimes is how long one list took.
type listTimes struct {
	Path          string
	Median, Worst time.Duration
}

// maxList is the budget of every list.
const maxList = 10 * time.Millisecond

// seedLists fills the tenant bench past the API, which would take hours: $1 is the tenant.
//
// Ids are those of package id, of a moment in the last 20 days: milliseconds, the version and the
// microseconds, 62 bits. One event of 100,000 has the action user.rare, one of 1,000 was refused,
// and one actor and one target have a third of all.
var seedLists = []string{
	`CREATE FUNCTION bench_id(at bigint, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
		SELECT (lpad(to_hex(at / 1000), 12, '0') || '7' || lpad(to_hex(at % 1000), 3, '0')
			|| '8' || lpad(to_hex(n), 15, '0'))::uuid $$`,
	`INSERT INTO users (tenant_id, id, email, email_key, status, given_name, created_at, updated_at)
		SELECT %[1]s, bench_id(%[4]d + n, n), 'many' || n || '@example.com', 'many' || n || '@example.com',
			CASE WHEN n %% 100000 = 7 THEN 'locked' ELSE 'active' END, 'Ada', %[4]d, %[4]d
		FROM generate_series(1, %[3]d) n`,
	`INSERT INTO user_terms (tenant_id, term, user_id) SELECT tenant_id, email_key, id FROM users
		WHERE tenant_id = %[1]s AND email_key LIKE 'many%%'`,
	`INSERT INTO user_terms (tenant_id, term, user_id) SELECT tenant_id, 'ada', id FROM users
		WHERE tenant_id = %[1]s AND email_key LIKE 'many%%'`,
	`INSERT INTO groups (tenant_id, id, name, name_key, created_at, updated_at)
		SELECT %[1]s, bench_id(%[4]d, n), 'Group ' || n, 'group ' || n, %[4]d, %[4]d
		FROM generate_series(1, greatest(%[3]d / 100, 1)) n`,
	`INSERT INTO group_members (tenant_id, group_id, user_id, added_at)
		SELECT tenant_id, bench_id(%[4]d, 1), id, %[4]d FROM users
		WHERE tenant_id = %[1]s AND email_key LIKE 'many%%'`,
	`INSERT INTO audit_events (tenant_id, at, id, action, outcome, actor_kind, actor_id, target_kind, target_id,
			target_name, request_id)
		SELECT %[1]s, at, bench_id(at, n), CASE WHEN n %% 100000 = 7 THEN 'user.rare'
				WHEN n %% 100000 = 8 THEN 'scarce.thing' ELSE (ARRAY['session.create', 'user.update', 'grant.create',
				'grant.revoke', 'user.sign_in', 'application.update', 'role.assign'])[1 + n %% 7] END,
			CASE WHEN n %% 1000 = 7 THEN 'refused' ELSE 'success' END, 'user',
			bench_id(%[4]d, CASE WHEN n %% 3 = 0 THEN 0 ELSE n %% 1000 END), 'user',
			bench_id(%[4]d, CASE WHEN n %% 3 = 1 THEN 0 ELSE n %% 1000 END)::text, '', 'request-' || n
		FROM (SELECT n, %[4]d + n::bigint * 500000 AS at FROM generate_series(1, %[2]d) n) AS events`,
	`INSERT INTO sessions (tenant_id, id, user_id, token_hash, created_at, auth_time, last_seen_at, expires_at, idle,
			amr, acr, generation)
		SELECT u.tenant_id, bench_id(%[4]d + n, n), u.id, int8send(n), %[4]d, %[4]d, %[4]d, %[4]d * 2, %[4]d, '["pwd"]',
			'aal1', 0
		FROM (SELECT tenant_id, id, row_number() OVER () AS n FROM users
			WHERE tenant_id = %[1]s AND email_key LIKE 'many%%') u`,
	`INSERT INTO grants (tenant_id, id, application_id, user_id, session_id, offline, scopes, auth_time, created_at,
			expires_at, generation)
		SELECT s.tenant_id, s.id, a.id, s.user_id, s.id, true, 'openid', %[4]d, %[4]d, %[4]d * 2, 0
		FROM sessions s JOIN applications a ON a.tenant_id = s.tenant_id AND a.name = 'web'
		WHERE s.tenant_id = %[1]s AND s.created_at = %[4]d`,
	`ANALYZE`,
}

// lists are the lists of the tenant with all of their filters.
func lists(seeded, web string) []string {
	at := func(n int64) string { // as bench_id
		us := seededAt + n
		return fmt.Sprintf("%08x-%04x-7%03x-8%03x-%012x", us/1000>>16, us/1000&0xffff, us%1000, n>>48, n&0xffffffffffff)
	}
	first := at(0)
	begin := time.UnixMicro(seededAt).UTC()
	from := url.QueryEscape(begin.Add(time.Hour).Format(time.RFC3339))
	to := url.QueryEscape(begin.Add(2 * time.Hour).Format(time.RFC3339))
	return []string{
		"/audit-events", "/audit-events?action=user.rare", "/audit-events?action=user.update",
		"/audit-events?action=user.nothing", "/audit-events?action=scarce.", "/audit-events?action=user.",
		"/audit-events?action=nothing.", "/audit-events?outcome=refused", "/audit-events?outcome=success",
		"/audit-events?actor=" + first, "/audit-events?actor=" + web, "/audit-events?target=" + first,
		"/audit-events?target=nothing", "/audit-events?request_id=request-7", "/audit-events?request_id=nothing",
		"/audit-events?from=" + from + "&to=" + to, "/audit-events?to=" + from,
		"/audit-events?action=user.rare&from=" + from + "&to=" + to, "/audit-events?action=user.&to=" + to,
		"/audit-events?action=user.rare&outcome=refused", "/audit-events?action=user.update&outcome=refused",
		"/audit-events?action=user.rare&actor=" + first, "/audit-events?outcome=refused&actor=" + first,
		"/audit-events?action=user.rare&target=" + first, "/audit-events?outcome=refused&target=" + first,
		"/users", "/users?status=locked", "/users?status=invited", "/users?status=active",
		"/users?email=many9@example.com", "/users?search=many7",
		"/users?search=ada", "/users?search=nobody", "/users?status=locked&search=ada",
		"/groups", "/groups?search=group+7", "/groups/" + first1(at) + "/members", "/users/" + seeded + "/groups",
		"/sessions", "/sessions?user_id=" + seeded, "/grants", "/grants?user_id=" + seeded,
		"/grants?application_id=" + web, "/applications", "/roles", "/signing-keys", "/decisions",
		"/decisions?principal=nobody", "/decisions?kind=admin", "/decisions?effect=EFFECT_DENY",
	}
}

// seededAt is the moment of the first seeded row, in microseconds since 1970.
const seededAt = 1_790_000_000_000_000

// first1 returns the id of the group that has every user.
func first1(at func(int64) string) string {
	return strings.Replace(at(0), at(0)[24:], "000000000001", 1)
}

// measureLists seeds a tenant and asks for each list.
func measureLists(t testing.TB, dsn string, sz listSize) ([]listTimes, error) {
	s, err := newScene(t, process.Start(t, serverConfig(dsn)))
	if err != nil {
		return nil, err
	}
	c, err := newCluster(t, dsn)
	if err != nil {
		return nil, err
	}
	const tenant = "(SELECT id FROM tenants WHERE slug = 'bench')"
	for _, sql := range seedLists {
		if strings.Contains(sql, "%[") {
			sql = fmt.Sprintf(sql+"%[5]s", tenant, sz.Events, sz.Users, int64(seededAt), "")
		}
		began := time.Now()
		if _, err := c.conn.Exec(t.Context(), sql); err != nil {
			return nil, fmt.Errorf("%s: %w", sql, err)
		}
		t.Logf("seeded in %.1f s: %.60s", time.Since(began).Seconds(), strings.Join(strings.Fields(sql), " "))
	}
	var seeded, web string
	if err := c.conn.QueryRow(t.Context(), `SELECT u.id::text, a.id::text FROM users u
		JOIN applications a ON a.tenant_id = u.tenant_id AND a.name = 'web'
		WHERE u.email_key = 'many9@example.com'`).Scan(&seeded, &web); err != nil {
		return nil, err
	}
	var all []listTimes
	for _, path := range lists(seeded, web) {
		l := listTimes{Path: path}
		var took []time.Duration
		for i := range 2 * sz.Calls {
			began := time.Now()
			var answer struct{ Items []any }
			if err := s.operator.Call("GET", "bench", path, nil, &answer); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			if i >= sz.Calls {
				took = append(took, time.Since(began))
			}
			l.Path = fmt.Sprintf("%s (%d)", path, len(answer.Items))
		}
		slices.Sort(took)
		l.Median, l.Worst = took[len(took)/2], took[len(took)-1]
		t.Logf("%8s  %8s  %s", latency(l.Median), latency(l.Worst), l.Path)
		all = append(all, l)
	}
	return all, nil
}
