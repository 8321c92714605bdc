package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// RFC 9110 §13.1: lists, weak tags and *.
func TestPreconditions(t *testing.T) {
	for _, c := range []struct {
		match, noneMatch string
		absent           bool
		met              bool
	}{
		{met: true},
		{match: `"now"`, met: true},
		{match: `now`, met: true}, // a version as a body has it
		{match: `"was"`},
		{match: `"was", "now"`, met: true},
		{match: `"was","now"`, met: true},
		{match: `"a,b" , now`, met: true},
		{match: `W/"now"`},
		{match: `"was", W/"now"`},
		{match: `*`, met: true},
		{match: `*`, absent: true},
		{match: `"now"`, absent: true},
		{noneMatch: `*`},
		{noneMatch: `*`, absent: true, met: true},
		{noneMatch: `"now"`},
		{noneMatch: `W/"now"`},
		{noneMatch: `"was"`, met: true},
		{match: `"now"`, noneMatch: `"was"`, met: true},
		{match: `"now"`, noneMatch: `*`},
	} {
		h := http.Header{}
		for name, value := range map[string]string{"If-Match": c.match, "If-None-Match": c.noneMatch} {
			if value != "" {
				h.Set(name, value)
			}
		}
		p, err := ReadPreconditions(h)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if err := p.Check(!c.absent, "now"); (err == nil) != c.met || err != nil && !errors.Is(err, ErrPrecondition) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	p, err := ReadPreconditions(http.Header{"If-Match": {`"was"`, `"now"`}})
	if err != nil || p.Check(true, "now") != nil {
		t.Errorf("a list over two lines: %v", err)
	}
	for _, bad := range []string{`"now`,
		`"a" "b"`, `*, "a"`, `"a", *`, `"a"b`, strings.Repeat(`"a", `, 101) + `"b"`, `,`} {
		if _, err := ReadPreconditions(http.Header{"If-Match": {bad}}); err == nil ||
			!strings.Contains(err.Error(), "If-Match") {
			t.Errorf("%.20s: %v", bad, err)
		}
	}
}
