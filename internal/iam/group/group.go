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
	ID          id.ID
	Name        string // policies and people use it
	Description string
	Attributes  map[string]any // the tenant's own, as JSON; policies see them
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

func (g Group) target() audit.Target {
	return audit.Target{Kind: "group", ID: g.ID.String(), Name: g.Name}
}

// Member is a user in a group.
type Member struct {
	User    id.ID
	Login   string // email address or username
	Name    string
	Status  user.Status
	AddedAt time.Time
}

// New has the fields of a group to create.
type New struct {
	Name        string
	Description string
	Attributes  map[string]any
}

// Patch changes a group. A nil field stays as it is.
type Patch struct {
	Name        *string
	Description *string
	Attributes  *map[string]any // replaces all of them
}

// Roles are the rules on roles that this package needs; role.ForGroups returns them. by is what the
// caller of the operation may do. They fail with a Denied fault if the group's roles allow more
// than that.
type Roles struct {
	MayFill   func(ctx context.Context, tx *db.Tx, by api.Rights, group id.ID) error // add a member
	MayEmpty  func(ctx context.Context, tx *db.Tx, by api.Rights, group id.ID) error // remove members
	MayRename func(ctx context.Context, tx *db.Tx, by api.Rights, group id.ID) error // change the name or attributes
	KeepOwner user.KeepOwner
}

// Limits. Every decision about a user includes the user's groups.
const (
	maxGroups      = 10_000 // of a tenant
	maxOfUser      = 100    // groups of one user
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
	ErrTooManyOf = fault.New(fault.Limited, "group.too_many_of_user",
		"The user is in %d groups, which is the limit. Remove the user from one first.", maxOfUser)
)

// nameKey returns the form of a name that is unique in a tenant.
func nameKey(name string) string { return cases.Fold().String(norm.NFKC.String(name)) }

// normalise cleans g in place. It fails with an Invalid fault that names every wrong field.
func (g *Group) normalise() error {
	var wrong fault.Fields
	for _, f := range []struct {
		field string
		value *string
		limit int
		least int
	}{{"name", &g.Name, maxName, 1}, {"description", &g.Description, maxDescription, 0}} {
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
	if g.Attributes == nil {
		g.Attributes = map[string]any{}
	}
	text, err := json.Marshal(g.Attributes)
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
