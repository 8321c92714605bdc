package web

import "testing"

func TestAWholeNumberDoesNotChangeInSilence(t *testing.T) {
	for body, want := range map[string]string{
		`{"attributes": {"id": 9007199254740993}}`:                        "attributes.id",
		`{"a": 1, "b": {"c": [1, {"d": "x", "e": [-9007199254740993]}]}}`: "b.c[1].e[0]",
		`[[1], [2, 18446744073709551615]]`:                                "[1][1]",
		`{"n": 9007199254740992, "m": 9007199254740994}`:                  "",
		`{"n": 100000000000000000000, "f": 0.12345678901234567}`:          "",
		`{"text": "9007199254740993", "9007199254740993": true}`:          "",
		`{"n": 9007199254740993e0}`:                                       "",
		`{"n": 9007199254740993`:                                          "n",
		`{"n": `:                                                          "",
	} {
		if got := InexactNumber([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}
