package process

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFirstForm(t *testing.T) {
	page := `<form method="post" action="/signin/language"><input type="hidden" name="username" value="x"><button name="lang" value="de">Deutsch</button></form>
<form method="post" action="/signin/password?flow=1&amp;x=2"><input type="hidden" name="flow" value="a&#34;b"><input name="username" type="text"><input type="password" name="password"><button type="submit">Sign in</button></form>`
	action, fields := firstForm(page, "allow", "password", "username")
	if action == nil || action.String() != "/signin/password?flow=1&x=2" {
		t.Fatalf("action %v", action)
	}
	if diff := cmp.Diff(map[string]string{"flow": `a"b`, "username": "", "password": ""}, fields); diff != "" {
		t.Error(diff)
	}
	consent := `<form action="/signin/consent" method="post">
		<button type="submit" id="allow" name="answer" value="allow">Allow</button>
		<button type="submit" id="deny" name="answer" value="deny">Deny</button></form>`
	if _, fields := firstForm(consent, "allow"); fields["answer"] != "allow" {
		t.Errorf("the wrong button was pressed: %v", fields)
	}
}
