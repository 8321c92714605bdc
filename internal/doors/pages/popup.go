package pages

import (
	"slices"
	"strings"
)

// inFlow reports whether a path is of a page that an application may show in a popup. These are the
// pages of an authorization flow, of a sign-out, and the errors of both. The application waits
// until the popup closes. Cross-Origin-Opener-Policy would cut it off, and the popup would look
// closed at once. Pages of the account and those that a mailed link opens are not in a flow.
func inFlow(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return slices.Contains([]string{"oauth2", "signin", "register", "forgotten", "signout", "signedout"}, first)
}
