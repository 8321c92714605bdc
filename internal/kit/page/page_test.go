package page

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func TestParse(t *testing.T) {
	last := id.New()
	for _, tc := range []struct {
		limit, cursor string
		want          Request
		wrong         []string
	}{
		{"", "", Request{Limit: 50}, nil},
		{"1", "", Request{Limit: 1}, nil},
		{"200", Cursor(last), Request{Limit: 200, After: last}, nil},
		{"0", "", Request{}, []string{"limit"}},
		{"201", "", Request{}, []string{"limit"}},
		{"-1", "x", Request{}, []string{"limit", "cursor"}},
		{"ten", "", Request{}, []string{"limit"}},
		{"9999999999999999999999", "", Request{}, []string{"limit"}},
		{"", Cursor(last) + "A", Request{}, []string{"cursor"}},
		{"", Cursor(id.ID{}), Request{}, []string{"cursor"}},
		{"", "Ag" + Cursor(last)[2:], Request{}, []string{"cursor"}}, // another version
		{"", "\x00", Request{}, []string{"cursor"}},
	} {
		got, err := Parse(tc.limit, tc.cursor)
		if tc.wrong == nil {
			if err != nil || got != tc.want {
				t.Errorf("Parse(%q, %q) = %v, %v, want %v", tc.limit, tc.cursor, got, err, tc.want)
			}
			continue
		}
		var f *fault.Fault
		if !errors.As(err, &f) || f.Kind != fault.Invalid {
			t.Errorf("Parse(%q, %q): %v, want an Invalid fault", tc.limit, tc.cursor, err)
			continue
		}
		var names []string
		for _, fd := range f.Fields {
			names = append(names, fd.Name)
		}
		if d := cmp.Diff(tc.wrong, names); d != "" {
			t.Errorf("Parse(%q, %q): fields %s", tc.limit, tc.cursor, d)
		}
	}
}

func TestOf(t *testing.T) {
	ids := []id.ID{id.New(), id.New(), id.New()}
	self := func(i id.ID) id.ID { return i }
	r := Request{Limit: 2}
	l := Of(r, ids, self)
	if len(l.Items) != 2 || l.NextCursor != Cursor(ids[1]) {
		t.Errorf("a full page with one more: %v", l)
	}
	if l := Of(r, ids[:2], self); len(l.Items) != 2 || l.NextCursor != "" {
		t.Errorf("the last page has no cursor: %v", l)
	}
	if l := Of(r, nil, self); l.Items == nil || l.NextCursor != "" {
		t.Errorf("an empty list is [], not null: %v", l)
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add(Cursor(id.New()))
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, s string) {
		after, err := ParseCursor(s)
		if err != nil {
			return
		}
		if after.IsZero() {
			t.Errorf("ParseCursor(%q) accepted the zero id", s)
		}
		if again := Cursor(after); again != s {
			t.Errorf("ParseCursor(%q) is not the only text of %v: %q", s, after, again)
		}
	})
}
