package claim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// facts are the variables of an expression. Nothing else of the directory is in its reach.
type facts struct {
	User        person   `cel:"user"`
	Groups      []string `cel:"groups"`
	GroupIDs    []string `cel:"group_ids"`
	Roles       []string `cel:"roles"`
	Application program  `cel:"application"`
}

// person is the user of whom an expression tells something.
type person struct {
	ID            string           `cel:"id"`
	Email         string           `cel:"email"`
	EmailVerified bool             `cel:"email_verified"`
	Username      string           `cel:"username"`
	Name          string           `cel:"name"`
	GivenName     string           `cel:"given_name"`
	FamilyName    string           `cel:"family_name"`
	MiddleName    string           `cel:"middle_name"`
	Nickname      string           `cel:"nickname"`
	Profile       string           `cel:"profile"`
	Picture       string           `cel:"picture"`
	Website       string           `cel:"website"`
	Gender        string           `cel:"gender"`
	Birthdate     string           `cel:"birthdate"`
	Zoneinfo      string           `cel:"zoneinfo"`
	Locale        string           `cel:"locale"`
	Attributes    *structpb.Struct `cel:"attributes"`
	CreatedAt     time.Time        `cel:"created_at"`
	UpdatedAt     time.Time        `cel:"updated_at"`
}

// program is the application that is told.
type program struct {
	ID       string `cel:"id"`
	ClientID string `cel:"client_id"`
	Name     string `cel:"name"`
}

// language is that of mappings. Its example has every field, and no attributes, which differ.
var language = engine.NewLanguage(factsOf(&application.Application{ClientID: "example", Name: "Example"},
	user.User{Profile: user.Profile{Email: "ada@example.com", GivenName: "Ada", FamilyName: "Lovelace"}},
	[]holding{{name: "group"}, {role: true, name: "role"}}))

// expressions caches the compiled expressions of all tenants by their text. They have no data. Only
// saved ones get there, when they are evaluated.
var expressions = cache.New[string](cache.Options[*expression]{
	Max: 64 << 20, Cost: func(x *expression) int64 { return x.Size() }})

type expression = engine.Expression[facts]

// cached compiles an expression that is saved.
func cached(text string) (*expression, error) {
	if x, ok := expressions.Lookup(id.ID{}, text); ok {
		return x, nil
	}
	x, err := language.Compile(text)
	if err == nil {
		expressions.Put(id.ID{}, text, x)
	}
	return x, err
}

// Compile checks the expressions of mappings. It fails with a fault that names each wrong one, with
// the line, the column and the reason.
func Compile(of []application.Mapping) error {
	var wrong fault.Fields
	budget := engine.NewBudget()
	defer budget.End()
	for i, m := range of {
		if err := language.Check(budget, m.Expression); err != nil {
			wrong.Add(fmt.Sprintf("mappings[%d].expression", i), "The expression cannot be used: %s.", reason(err))
		}
	}
	return wrong.Err("application.invalid")
}

// maxReason bounds the text of an error in an answer, in bytes.
const maxReason = 300

func reason(err error) string {
	s := err.Error()
	return s[:min(len(s), maxReason)]
}

// Mapped is what became of one mapping.
type Mapped struct {
	application.Mapping
	Value any
	Cost  uint64 // as CEL counts
	Err   error  // then there is no value
}

// evaluate compiles the mappings and evaluates them for a person, within one budget.
func evaluate(mappings []application.Mapping, f facts, compile func(string) (*expression, error)) []Mapped {
	out := make([]Mapped, len(mappings))
	budget := engine.NewBudget()
	defer budget.End()
	for i, m := range mappings {
		out[i].Mapping = m
		x, err := compile(m.Expression)
		if err == nil {
			out[i].Value, out[i].Cost, err = x.Evaluate(budget, f)
		}
		if err == nil && !application.MayMap(m.Claim) {
			err = errors.New("no mapping may have this claim")
		}
		out[i].Err = err
	}
	return out
}

// factsOf returns what expressions may know.
func factsOf(app *application.Application, u user.User, held []holding) facts {
	f := facts{Groups: []string{}, GroupIDs: []string{}, Roles: []string{},
		Application: program{app.ID.String(), app.ClientID, app.Name},
		User: person{ID: u.ID.String(), Email: u.Email, EmailVerified: u.EmailVerified, Username: u.Username,
			Name: fullName(u), GivenName: u.GivenName, FamilyName: u.FamilyName, MiddleName: u.MiddleName,
			Nickname: u.Nickname, Profile: u.Page, Picture: u.Picture, Website: u.Website, Gender: u.Gender,
			Birthdate: u.Birthdate, Zoneinfo: u.Zoneinfo, Locale: u.Locale,
			CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt},
	}
	f.User.Attributes, _ = structpb.NewStruct(u.Attributes) // they came from JSON
	if f.User.Attributes == nil {
		f.User.Attributes = &structpb.Struct{}
	}
	for _, h := range held {
		if h.role {
			f.Roles = append(f.Roles, h.name)
		} else {
			f.Groups, f.GroupIDs = append(f.Groups, h.name), append(f.GroupIDs, h.id.String())
		}
	}
	return f
}

// placeNames are the places as mappings name them.
var placeNames = [places]string{application.InIDToken, application.InUserinfo, application.InAccessToken,
	application.InAccessToken}

// needed returns the mappings that the application is told in one of the places.
func needed(mappings []application.Mapping, at ...Place) []application.Mapping {
	var out []application.Mapping
	for _, m := range mappings {
		if slices.ContainsFunc(at, func(p Place) bool { return slices.Contains(m.In, placeNames[p]) }) {
			out = append(out, m)
		}
	}
	return out
}

// Mapped returns what became of the mappings of the places of Read. It evaluates them once.
func (a *About) Mapped() []Mapped {
	if a == nil || len(a.mappings) == 0 || len(a.user) == 0 {
		return nil
	}
	if a.mapped == nil {
		a.mapped = evaluate(a.mappings, factsOf(a.app, a.user[0], a.held), a.compile)
	}
	return a.mapped
}

// addMapped adds the mapped claims of a place. A mapping replaces a claim of a scope, also if it
// fails: what it would have hidden stays hidden.
func (a *About) addMapped(out map[string]any, at Place) {
	for _, m := range a.Mapped() {
		if !slices.Contains(m.In, placeNames[at]) {
			continue
		}
		delete(out, m.Claim)
		if m.Err == nil {
			out[m.Claim] = m.Value
		}
	}
}
