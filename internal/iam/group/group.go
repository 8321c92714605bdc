package group

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Group is a named set of users.
type Group struct {
	ID id.ID `json:"id" always:"true" format:"uuid"`
	Profile
	CreatedAt time.Time `json:"created_at" always:"true"`
	UpdatedAt time.Time `json:"updated_at" always:"true"`
}

// Profile is what the management API can edit of a group. limit is the maximum length in a request,
// in characters.
type Profile struct {
	Name        string         `json:"name" minLength:"1" limit:"128" doc:"Unique in the tenant, whatever its case. Policies that name the group must follow a change." example:"Finance"`
	Description string         `json:"description" limit:"256"`
	Attributes  map[string]any `json:"attributes" doc:"The tenant's own fields, up to 2 KB. A change replaces all of them. They need the action group.attributes, because policies see them."`
}

func (g Group) target() audit.Target {
	return audit.Target{Kind: "group", ID: g.ID.String(), Name: g.Name}
}

// TargetOf names a group of which only the id is known in an audit event.
func TargetOf(group id.ID) audit.Target {
	return audit.ByID("group", group, `SELECT g.name FROM groups g WHERE g.tenant_id = $1 AND g.id = $2`)
}

// Member is a user in a group.
type Member struct {
	User    id.ID
	Login   string // email address or username
	Name    string
	Status  user.Status
	AddedAt time.Time
}

// Roles are the rules on roles that this package needs; role.ForGroups returns them. by is what the
// caller of the operation may do. They fail with a Denied fault if the group's roles allow more
// than that.
type Roles struct {
	MayFill   func(ctx context.Context, tx *db.Tx, by api.Rights, group id.ID) error // add a member
	MayEmpty  func(ctx context.Context, tx *db.Tx, by api.Rights, group id.ID) error // remove members
	MayRename func(ctx context.Context, tx *db.Tx, by api.Rights, group id.ID) error // change the name or attributes
	KeepOwner user.KeepOwner
	Of        func(ctx context.Context, tx *db.Tx, group id.ID) ([]string, error) // the group's roles by name
}

// Limits. Every decision about a user includes the user's groups.
const (
	maxGroups      = 10_000 // of a tenant
	maxOfUser      = 500    // groups of one user
	maxName        = 128    // code points
	maxDescription = 256    // code points
	maxAttributes  = 2 << 10
)

// Faults of this package.
var (
	ErrNotFound  = fault.New(fault.NotFound, "group.not_found", "There is no group with this id.")
	ErrNotMember = fault.New(fault.NotFound, "group.not_member", "This user is not in the group.")
	ErrNameTaken = fault.New(fault.Conflict, "group.name_taken", "Another group of this tenant has this name.")
	errTooMany   = fault.New(fault.Limited, "group.too_many",
		"The tenant has %d groups, which is the limit. Delete one first.", maxGroups)
	errInRule = fault.New(fault.Conflict, "group.in_rule",
		"A rule of signing in names this group. Change settings.signin first.")
	ErrTooManyOf = fault.New(fault.Limited, "group.too_many_of_user",
		"The user is in %d groups, which is the limit. Remove the user from one first.", maxOfUser)
)

// nameKey returns the form of a name that is unique in a tenant.
func nameKey(name string) string { return cases.Fold().String(norm.NFKC.String(name)) }

// normalise cleans p in place. It fails with an Invalid fault that names every wrong field.
func (p *Profile) normalise() error {
	var wrong fault.Fields
	for _, f := range []struct {
		field string
		value *string
		limit int
		least int
	}{{"name", &p.Name, maxName, 1}, {"description", &p.Description, maxDescription, 0}} {
		if !utf8.ValidString(*f.value) || len(*f.value) > f.limit*utf8.UTFMax {
			wrong.Add(f.field, "Use at most %d characters.", f.limit)
			continue
		}
		*f.value = strings.TrimSpace(norm.NFC.String(*f.value))
		switch n := utf8.RuneCountInString(*f.value); {
		case n < f.least:
			wrong.Add(f.field, "A group needs a name.")
		case n > f.limit || strings.ContainsFunc(*f.value, unprintable):
			wrong.Add(f.field, "Use at most %d characters and no line breaks.", f.limit)
		}
	}
	if p.Attributes == nil {
		p.Attributes = map[string]any{}
	}
	text, err := json.Marshal(p.Attributes)
	switch {
	case err != nil:
		wrong.Add("attributes", "The attributes are not JSON.")
	case len(text) > maxAttributes:
		wrong.Add("attributes", "The attributes are larger than %d bytes.", maxAttributes)
	case bytes.Contains(text, []byte(`\u0000`)):
		wrong.Add("attributes", "The attributes contain a NUL character.")
	}
	return wrong.Err("group.invalid")
}

// unprintable reports whether a character could make one name look like another, or break a line.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }
