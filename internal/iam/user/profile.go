package user

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Profile is what the management API can edit of a user, besides the status.
//
// A field is declared here and nowhere else. Its JSON name is also its column and its name in audit
// events. limit is the maximum length in a request, in characters. line marks a text of one line,
// which needs no other rule; normalise has the rules of the others. None is
// required: an answer to a reader without user.read has none.
type Profile struct {
	Email         string         `json:"email" required:"false" limit:"254" doc:"Unique in the tenant. A user needs this or a username. A changed address is unverified unless the same request says otherwise." example:"ada@example.com"`
	EmailVerified bool           `json:"email_verified" required:"false" doc:"Whether the user has proved to receive mail there."`
	Username      string         `json:"username" required:"false" limit:"256" doc:"Unique in the tenant."`
	GivenName     string         `json:"given_name" required:"false" limit:"128" line:"true"`
	FamilyName    string         `json:"family_name" required:"false" limit:"128" line:"true"`
	MiddleName    string         `json:"middle_name" required:"false" limit:"128" line:"true"`
	Nickname      string         `json:"nickname" required:"false" limit:"128" line:"true"`
	Page          string         `json:"profile" required:"false" limit:"512" doc:"The address of a page about the user." example:"https://example.com/people/ada"`
	Picture       string         `json:"picture" required:"false" limit:"512" doc:"The address of a picture of the user." example:"https://example.com/people/ada.jpg"`
	Website       string         `json:"website" required:"false" limit:"512" doc:"The address of the user's own page." example:"https://ada.example.com"`
	Gender        string         `json:"gender" required:"false" limit:"32" line:"true" doc:"female, male, or another word."`
	Birthdate     string         `json:"birthdate" required:"false" limit:"10" doc:"YYYY-MM-DD, YYYY alone, or 0000-MM-DD without the year." example:"1815-12-10"`
	Zoneinfo      string         `json:"zoneinfo" required:"false" limit:"64" doc:"A time zone of the IANA database." example:"Europe/Zurich"`
	Locale        string         `json:"locale" required:"false" limit:"35" doc:"A BCP 47 language tag." example:"de-CH"`
	Attributes    map[string]any `json:"attributes" required:"false" doc:"The tenant's own fields, up to 8 KB. A change replaces all of them. The setting user_attributes says who may change which."`
}

// Name returns how a page addresses the user.
func (p Profile) Name() string {
	if name := strings.TrimSpace(p.GivenName + " " + p.FamilyName); name != "" {
		return name
	}
	return p.Login()
}

// Login returns what the user signs in with: the email address, or the username of a user who has
// none.
func (p Profile) Login() string {
	if p.Email != "" {
		return p.Email
	}
	return p.Username
}

// LoginSQL is Login as an expression of a statement in which u is a row of users.
const LoginSQL = "CASE WHEN u.email <> '' THEN u.email ELSE u.username END"

// field is one field of a Profile, as its tags declare it.
type field struct {
	name  string
	limit int  // in characters; 0: none
	line  bool // see Profile
}

// fields are those of a Profile, in the order of their declaration.
var fields = func() []field {
	var out []field
	for f := range reflect.TypeFor[Profile]().Fields() {
		limit, _ := strconv.Atoi(f.Tag.Get("limit"))
		out = append(out, field{f.Tag.Get("json"), limit, f.Tag.Get("line") == "true"})
	}
	return out
}()

// pointers returns pointers to the fields, in their order.
func (p *Profile) pointers() []any {
	v := reflect.ValueOf(p).Elem()
	out := make([]any, len(fields))
	for i := range fields {
		out[i] = v.Field(i).Addr().Interface()
	}
	return out
}

// values returns the fields, in their order.
func (p *Profile) values() []any {
	v := reflect.ValueOf(p).Elem()
	out := make([]any, len(fields))
	for i := range fields {
		out[i] = v.Field(i).Interface()
	}
	return out
}

// profileColumns lists the columns of a profile.
func profileColumns() string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// profilePlaceholders lists the placeholders of a profile's values, starting at $from.
func profilePlaceholders(from int) string {
	list := make([]string, len(fields))
	for i := range fields {
		list[i] = fmt.Sprintf("$%d", from+i)
	}
	return strings.Join(list, ", ")
}

// profileAssignments assigns a profile's values to its columns, starting at $from.
func profileAssignments(from int) string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = fmt.Sprintf("%s = $%d", f.name, from+i)
	}
	return strings.Join(list, ", ")
}
