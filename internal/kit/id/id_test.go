package id

import (
	"testing"
	"time"
)

func TestAtKeepsTheMicrosecond(t *testing.T) {
	for _, us := range []int64{0, 1, 999, 1000, 1767225600123456, 1767225600999999} {
		at := time.UnixMicro(us).UTC()
		if got := At(at).Time(); !got.Equal(at) {
			t.Errorf("At(%d).Time() = %v", us, got)
		}
		if s := At(at).String(); s[14] != '7' {
			t.Errorf("%s is not version 7", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("0190e3a6-7c1e-7000-8000-000000000000")
	f.Add("{0190e3a6-7c1e-7000-8000-000000000000}")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := Parse(s)
		if err != nil || i.IsZero() {
			return
		}
		if again, err := Parse(i.String()); err != nil || again != i {
			t.Errorf("%q does not survive: %v", s, err)
		}
	})
}
