package credential

import (
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

func TestCheckPassword(t *testing.T) {
	rules := Rules{Not: []string{"Ada.Lovelace@example.com", "countess-ada", ""}}
	for _, tc := range []struct {
		password string
		min      int
		ok       bool
	}{
		{"correct horse battery", 0, true},
		{"nimbus-42", 0, true},
		{"Tr0ub4dor&3", 0, true},
		{"世界世界和平和平", 0, true}, // eight code points
		{strings.Repeat("ab cd ef", 32), 0, true},
		{"", 0, false},
		{"short-7", 0, false},
		{"世界", 0, false},
		{"nimbus-42", 12, false},
		{"nimbus-42", 1, true}, // a tenant cannot ask for less than we do
		{"nimbu-7", 1, false},
		{strings.Repeat("ab cd ef", 32) + "x", 0, false},
		{strings.Repeat("x", 1<<20), 0, false},
		{"line\nbreak in it", 0, false},
		{"nul\x00in the middle", 0, false},
		{"not utf8 \xff\xfe there", 0, false},
		{"ADA.lovelace@example.com", 0, false},
		{"ada.lovelace", 0, false},
		{"Countess-Ada", 0, false},
		{"password123", 0, false},
		{"PassWord1", 0, false},
		{"qwertyuiop", 0, false},
		{"aaaaaaaaaaaa", 0, false},
		{"abababababab", 0, false},
	} {
		r := rules
		r.MinLength = tc.min
		err := CheckPassword(secret.String(tc.password), r)
		if (err == nil) != tc.ok {
			t.Errorf("%.40q (at least %d): %v, want ok %v", tc.password, tc.min, err, tc.ok)
		}
		if err != nil && (fault.Of(err) != fault.Invalid || fault.As(err).Fields[0].Name != "password") {
			t.Errorf("%.40q: %v does not name the field", tc.password, err)
		}
		if err != nil && len(tc.password) > 3 && strings.Contains(err.Error(), tc.password) {
			t.Errorf("the refusal of %.40q repeats it", tc.password)
		}
	}
}
