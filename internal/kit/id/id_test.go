package id

import (
	"bytes"
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

func TestNthSortsByTheNumber(t *testing.T) {
	at := time.UnixMicro(1767225600123456).UTC()
	last := ID{}
	for _, n := range []int{-1, 1, 2, 255, 256, 65535, 65536, maxNth} {
		i := Nth(at, n)
		if bytes.Compare(last[:], i[:]) >= 0 {
			t.Errorf("%d: %s does not follow %s", n, i, last)
		}
		if s := i.String(); !i.Time().Equal(at) || s[14] != '7' || s[19] < '8' || s[19] > 'b' {
			t.Errorf("%d: %s is not version 7 at %v", n, i, at)
		}
		last = i
	}
	if i := Nth(at, maxNth+1); !bytes.Equal(i[:11], last[:11]) {
		t.Errorf("%s is over the highest number, %s", i, last)
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
