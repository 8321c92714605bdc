package tenant

import (
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Editor says who may change an attribute of a user.
type Editor string

// The editors. Each includes those after it.
const (
	ByPerson        Editor = "person"        // the user, if allowed user.update, and every manager
	ByManager       Editor = "manager"       // callers with user.update, but not of themselves
	ByAdministrator Editor = "administrator" // callers with user.attributes
)

// UserAttribute declares an attribute of users.
type UserAttribute struct {
	Name       string `json:"name" minLength:"1" maxLength:"64" doc:"The name below attributes."`
	EditableBy Editor `json:"editable_by" enum:"person,manager,administrator" doc:"Who may change it. person: users themselves and managers, who have user.update. manager: managers, but not of themselves. administrator: only callers with user.attributes."`
}

const maxUserAttributes = 100

func checkUserAttributes(declared []UserAttribute, name string, wrong *fault.Fields) {
	if len(declared) > maxUserAttributes {
		wrong.Add(name, "There may be at most %d.", maxUserAttributes)
		return
	}
	seen := map[string]bool{}
	for _, a := range declared {
		switch {
		case a.Name == "" || !utf8.ValidString(a.Name) || utf8.RuneCountInString(a.Name) > 64:
			wrong.Add(name, "An attribute has a name of at most 64 characters.")
		case seen[a.Name]:
			wrong.Add(name, "The attribute %q is declared twice.", a.Name)
		case a.EditableBy != ByPerson && a.EditableBy != ByManager && a.EditableBy != ByAdministrator:
			wrong.Add(name, "An attribute is editable by person, manager or administrator.")
		default:
			seen[a.Name] = true
			continue
		}
		return
	}
}
