package web

import "unicode/utf8"

// clean reports whether s is valid UTF-8 without control characters: what may be
// stored in either database and written to a log line.
func clean(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
			return false
		} else if c >= utf8.RuneSelf {
			return utf8.ValidString(s[i:]) && noControl(s[i:])
		}
	}
	return true
}

func noControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
