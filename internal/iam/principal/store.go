package principal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// entry is what the directory says of a principal at one version. It is shared and must not
// be changed.
type entry struct {
	version int64     // of the tenant's principals
	until   time.Time // when the first of its roles ends; zero when none does
	outcome Outcome
	roles   []string
	attr    map[string]*structpb.Value
	size    int // bytes, about
}

// lasts reports whether none of the roles that are in the entry has ended.
func (e *entry) lasts(now time.Time) bool { return e.until.IsZero() || now.Before(e.until) }

// One statement reads everything of a principal, so that it is of one moment and one round
// trip, and the version of that moment with it. The branches have the same columns; kind says
// which one a row is of.
const (
	rowVersion     = 0 // n: the version
	rowUser        = 1 // a: status, b–f: email to locale, g: attributes, n: email_verified
	rowApplication = 2 // a: status, b: name, c: client_id
	rowGroup       = 3 // a: name, g: attributes
	rowRole        = 4 // a: name, n: when it ends, or 0

	readPrincipal = `SELECT 0 AS kind, '' AS a, '' AS b, '' AS c, '' AS d, '' AS e, '' AS f, '' AS g, principals_version AS n
			FROM tenants WHERE id = $1
		UNION ALL SELECT 1, status, email, username, given_name, family_name, locale, attributes, CASE WHEN email_verified THEN 1 ELSE 0 END
			FROM users WHERE tenant_id = $1 AND id = $2
		UNION ALL SELECT 2, status, name, client_id, '', '', '', '', 0
			FROM applications WHERE tenant_id = $1 AND id = $2
		UNION ALL SELECT 3, g.name, '', '', '', '', '', g.attributes, 0
			FROM group_members m JOIN groups g ON g.tenant_id = $1 AND g.id = m.group_id
			WHERE m.tenant_id = $1 AND m.user_id = $2
		UNION ALL SELECT 4, role, '', '', '', '', '', '', COALESCE(until, 0)
			FROM role_grants WHERE tenant_id = $1 AND subject_id = $2 AND (until IS NULL OR until > $3)
		UNION ALL SELECT 4, r.role, '', '', '', '', '', '', COALESCE(r.until, 0)
			FROM group_members m JOIN role_grants r ON r.tenant_id = $1 AND r.subject_id = m.group_id
			WHERE m.tenant_id = $1 AND m.user_id = $2 AND (r.until IS NULL OR r.until > $3)`
)

type row struct {
	kind                int
	a, b, c, d, e, f, g string
	n                   int64
}

// read loads a principal from the database.
func read(ctx context.Context, tx *db.Tx, principal id.ID) (*entry, error) {
	rows, err := db.List(ctx, tx, func(r db.Row) (row, error) {
		var w row
		err := r.Scan(&w.kind, &w.a, &w.b, &w.c, &w.d, &w.e, &w.f, &w.g, &w.n)
		return w, err
	}, readPrincipal, principal, tx.Now())
	if err != nil {
		return nil, err
	}
	e := &entry{outcome: Unknown, size: 512}
	attr := map[string]any{
		"kind": "", "email": "", "email_verified": false, "username": "", "name": "",
		"given_name": "", "family_name": "", "locale": "", "client_id": "",
	}
	own, groupOwn := json.RawMessage("{}"), map[string]json.RawMessage{}
	groups := []any{}
	everybody := ""
	for _, w := range rows {
		// JSON grows when it is read
		e.size += 64 + len(w.a) + len(w.b) + len(w.c) + len(w.d) + len(w.e) + len(w.f) + 8*len(w.g)
		switch w.kind {
		case rowVersion:
			e.version = w.n
		case rowUser:
			e.outcome, everybody, own = ofUser[user.Status(w.a)], RoleUser, json.RawMessage(w.g)
			attr["kind"], attr["email"], attr["email_verified"], attr["username"] = "user", w.b, w.n == 1, w.c
			attr["given_name"], attr["family_name"], attr["locale"] = w.d, w.e, w.f
		case rowApplication:
			e.outcome, everybody = ofApplication[application.Status(w.a)], roleApplication
			attr["kind"], attr["name"], attr["client_id"] = "application", w.b, w.c
		case rowGroup:
			groups = append(groups, w.a)
			groupOwn[w.a] = json.RawMessage(w.g)
		case rowRole:
			e.roles = append(e.roles, w.a)
			if w.n != 0 {
				if end := time.UnixMicro(w.n).UTC(); e.until.IsZero() || end.Before(e.until) {
					e.until = end
				}
			}
		}
	}
	if e.outcome != Found {
		return &entry{version: e.version, outcome: e.outcome, size: 256}, nil
	}
	slices.Sort(e.roles)
	e.roles = append(slices.Compact(e.roles), everybody)
	slices.SortFunc(groups, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	attr["groups"] = groups
	return e, e.fill(attr, own, groupOwn)
}

// fill makes the attributes of an entry from what is the same for everybody's (attr), the
// principal's own and its groups' own.
func (e *entry) fill(attr map[string]any, own json.RawMessage, groups map[string]json.RawMessage) error {
	e.attr = make(map[string]*structpb.Value, len(attr)+8)
	for name, v := range attr {
		value, err := structpb.NewValue(v)
		if err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
		e.attr[name] = value
	}
	user, err := object(own)
	if err != nil {
		return fmt.Errorf("the principal's attributes: %w", err)
	}
	e.attr["user"] = user
	byName := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(groups))}
	for name, text := range groups {
		if byName.Fields[name], err = object(text); err != nil {
			return fmt.Errorf("attributes of group %q: %w", name, err)
		}
	}
	e.attr["group"] = structpb.NewStructValue(byName)
	return nil
}

// object reads a JSON object.
func object(text json.RawMessage) (*structpb.Value, error) {
	s := &structpb.Struct{}
	if err := s.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	return structpb.NewStructValue(s), nil
}

// What a principal's status makes of it; a status that is not here finds nothing.
var (
	ofUser = map[user.Status]Outcome{
		user.Active: Found, user.Invited: Invited, user.Locked: Locked, user.Deactivated: Deactivated,
	}
	ofApplication = map[application.Status]Outcome{application.Active: Found, application.Disabled: Disabled}
)
