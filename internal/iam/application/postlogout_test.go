package application

import "testing"

// The loopback address to which a native application returns after sign-out has any port.
func TestPostLogoutTakesAnyLoopbackPort(t *testing.T) {
	a := &Application{PostLogoutRedirectURIs: []string{"http://127.0.0.1/out", "https://app.example/out",
		"http://localhost:3000/bye"}}
	for uri, want := range map[string]bool{
		"http://127.0.0.1/out": true, "http://127.0.0.1:41234/out": true, "http://127.0.0.1:41234/other": false,
		"https://app.example/out": true, "https://app.example:8443/out": false, "http://localhost:41234/out": false,
		"http://localhost:41234/bye": true, "http://127.0.0.1:41234/bye": false,
	} {
		if got := a.MatchesPostLogout(uri); got != want {
			t.Errorf("%s: %t, want %t", uri, got, want)
		}
	}
}
