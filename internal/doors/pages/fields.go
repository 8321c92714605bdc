package pages

import (
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
)

// maxCode limits the fields for codes, in characters. Browsers enforce limits for people, and the
// handlers for every client. The limits of other fields are those of their packages.
const maxCode = 32

func usernameField(value string) field {
	return field{
		Name: "username", Label: say("field.username"), Type: "text", Value: value, MaxLength: user.MaxEmail,
		Autocomplete: "username webauthn", Plain: true,
	}
}

func passwordField() field {
	return field{Name: "password", Label: say("field.password"), Type: "password", Autocomplete: "current-password",
		MaxLength: credential.MaxPasswordBytes}
}

func currentPasswordField() field {
	f := passwordField()
	f.Name, f.Label = "current_password", say("field.current_password")
	return f
}

// newPasswordField asks for a new password of at least least characters.
func newPasswordField(label message, least int) field {
	hint := say("field.new_password_hint", "Count", least)
	return field{Name: "password", Label: label, Hint: &hint, Type: "password", Autocomplete: "new-password",
		MaxLength: credential.MaxPasswordBytes}
}

func emailField(value string) field {
	return field{
		Name: "email", Label: say("field.email"), Type: "email", Value: value, MaxLength: user.MaxEmail,
		Autocomplete: "email", InputMode: "email", Plain: true,
	}
}

func givenNameField(value string) field {
	return field{Name: "given_name", Label: say("field.given_name"), Type: "text", Value: value,
		Autocomplete: "given-name", MaxLength: user.MaxName}
}

func familyNameField(value string) field {
	return field{Name: "family_name", Label: say("field.family_name"), Type: "text", Value: value,
		Autocomplete: "family-name", MaxLength: user.MaxName}
}

func codeField() field {
	return field{
		Name: "code", Label: say("field.code"), Type: "text", Autocomplete: "one-time-code", InputMode: "numeric",
		Class: "code", MaxLength: maxCode, Plain: true,
	}
}

func recoveryCodeField() field {
	return field{Name: "code", Label: say("field.recovery_code"), Type: "text", Autocomplete: "off", Class: "code long",
		MaxLength: maxCode, Plain: true}
}

// problem is one sentence about what is wrong with a form or a field.
type problem struct {
	Field string // "" for the whole form
	Text  message
}

// tell adds problems to a page: a summary that takes the focus, and each sentence at its field.
// Without problems the first empty field takes the focus.
func tell(f *frame, problems []problem, fields ...*field) {
	if len(problems) == 0 {
		for _, fd := range fields {
			if fd.Value == "" && !fd.Optional {
				fd.Focus = true
				return
			}
		}
		return
	}
	n := &notice{Failed: true, Tone: "bad"}
	for _, p := range problems {
		at := -1
		for i, fd := range fields {
			if p.Field != "" && fd.Name == p.Field {
				at = i
			}
		}
		if at < 0 {
			n.Text = p.Text
			continue
		}
		if fields[at].Error == nil {
			fields[at].Error = &p.Text
			n.Fields = append(n.Fields, fieldProblem{Name: p.Field, Text: p.Text})
		}
	}
	if len(n.Fields) > 1 && n.Text.ID == "" && n.Text.Raw == "" {
		n.Text = say("problem.several")
	}
	f.Notice = n
}
