package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Outcome says how an action ended.
type Outcome string

// The outcomes.
const (
	Success Outcome = "success"
	Refused Outcome = "refused" // by a rule: wrong password, locked, not allowed, replayed
)

// Target is the object of an action. The package of the object builds it, with the present name:
// later the object may be gone.
type Target struct {
	Kind string // "user", "application", "session", …
	ID   string // an id, or the given text if there is none, such as the login of an unknown user
	Name string // for readers; cut to 256 bytes

	row   id.ID  // of ByID
	query string // of ByID
}

// ByID returns a target whose name the caller does not have. Write reads the name with the INSERT,
// which costs no round trip. query selects it by the tenant, $1, and the id, $2.
func ByID(kind string, row id.ID, query string) Target {
	return Target{Kind: kind, ID: row.String(), row: row, query: query}
}

// MaxTold bounds the events that one deletion leaves for those that lose something by it.
const MaxTold = 1000

// Event is the part of an audit event that a feature supplies. Write adds the actor, the time and
// the address.
type Event struct {
	Action  string // "noun.verb"
	Target  Target
	Outcome Outcome        // empty means Success
	Changed Changes        // stored as the member changed of the detail
	Detail  map[string]any // small, JSON, no secrets; too large, it is replaced by a note
}

// Record is an audit event as stored.
type Record struct {
	ID        id.ID
	At        time.Time
	Action    string
	Outcome   Outcome
	Actor     caller.Actor
	Target    Target
	Address   string
	Agent     string
	RequestID string
	Detail    json.RawMessage
}

// maxDetail bounds the stored JSON of Detail, in bytes.
const maxDetail = 8192

// Write records e in tx. The INSERT travels with the next statement or with COMMIT. Lists keep the
// order in which a transaction wrote its events.
func Write(tx *db.Tx, e Event) {
	c := tx.Caller()
	if e.Outcome == "" {
		e.Outcome = Success
	}
	args := []any{tx.Now(), tx.NewID(), e.Action, e.Outcome,
		c.Actor.Kind, c.Actor.ID, c.Actor.Tenant, cut(c.Actor.Name), c.Actor.Via,
		e.Target.Kind, cut(e.Target.ID), cut(e.Target.Name),
		address(c), cut(c.Agent), c.RequestID, detail(e.Detail, e.Changed)}
	if e.Target.query == "" {
		tx.Later(insertEvent, args...)
		return
	}
	name := strings.ReplaceAll(e.Target.query, "$2", fmt.Sprintf("$%d", len(args)+2)) // $1 is the tenant
	named := strings.Replace(insertEvent, "$13", "COALESCE(("+name+"), $13)", 1)
	tx.Later(named, append(args, e.Target.row)...)
}

// detail returns the stored JSON of d and c. If that is too large, it shortens the values of c.
func detail(d map[string]any, c Changes) string {
	if len(d) == 0 && len(c) == 0 {
		return "{}"
	}
	with := func(changed any) (string, bool) {
		all := d
		if changed != nil {
			all = maps.Clone(d)
			if all == nil {
				all = map[string]any{}
			}
			all["changed"] = changed
		}
		b, err := json.Marshal(all)
		return string(b), err == nil && len(b) <= maxDetail
	}
	if len(c) == 0 {
		if s, fits := with(nil); fits {
			return s
		}
	} else {
		for _, changed := range []any{c, c.brief(), c.names()} {
			if s, fits := with(changed); fits {
				return s
			}
		}
	}
	return `{"omitted":"the detail was too large or not JSON"}`
}

func address(c caller.Caller) string {
	if !c.Address.IsValid() {
		return ""
	}
	return c.Address.String()
}

// cut bounds text from outside to 256 bytes. It keeps UTF-8 whole and drops NUL, which Postgres
// does not store.
func cut(s string) string {
	const limit = 256
	clean := true
	for i := range len(s) {
		if s[i] == 0 || s[i] >= utf8.RuneSelf {
			clean = false
			break
		}
	}
	if clean && len(s) <= limit {
		return s
	}
	b := make([]byte, 0, limit)
	for _, r := range s {
		if r == 0 {
			continue
		}
		if len(b)+utf8.RuneLen(r) > limit {
			break
		}
		b = utf8.AppendRune(b, r)
	}
	return string(b)
}
