package application

import "testing"

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		name     string
		want     bool
	}{
		{nil, "a", true}, {[]string{}, "a", true}, {[]string{"a"}, "a", true}, {[]string{"a"}, "ab", false},
		{[]string{"a*"}, "ab", true}, {[]string{"b", "a*"}, "a", true}, {[]string{"*"}, "a", true},
		{[]string{"a*c"}, "abc", false}, {[]string{"A"}, "a", false},
	} {
		if got := Matches(c.patterns, c.name); got != c.want {
			t.Errorf("%q matches %q: %t", c.patterns, c.name, got)
		}
	}
	bad := New{Name: "App", Type: Web, RedirectURIs: []string{"https://a.example/cb"},
		Claims: ClaimsPatch{Groups: &[]string{"a", ""}}}
	if bad.Check() == nil {
		t.Error("an empty pattern is accepted")
	}
}
