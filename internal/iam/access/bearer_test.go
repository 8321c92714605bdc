package access_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

func TestBearer(t *testing.T) {
	for value, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "Bearer": "", "Bearer ": "", "Basic abc": "", "": "", "abc": "",
	} {
		if got, ok := access.Bearer([]string{value}); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v", value, got, ok)
		}
	}
	for _, values := range [][]string{nil, {}, {"Bearer a", "Bearer b"}} {
		if got, ok := access.Bearer(values); ok || got != "" {
			t.Errorf("%q gave the token %q", values, got)
		}
	}
}

// RFC 6750 §3, RFC 9728 §5.1, RFC 9470 §3: what a challenge has.
func TestChallenge(t *testing.T) {
	const metadata = `resource_metadata="https://id.example.com/.well-known/oauth-protected-resource/t/acme/api/v1"`
	const realm = `Bearer realm="https://id.example.com/t/acme", `
	sentence := func(err error) string { return `error_description="` + fault.As(err).Reason + `", ` }
	at := access.Resource{Site: web.Site{Base: "https://id.example.com/t/acme", Path: "/t/acme"},
		Own: resourceserver.Own{Path: "/api/v1"}}
	stepUp := func(s grant.StepUp) error { return grant.ErrStepUp.Because(&s) }
	for _, tt := range []struct {
		err   error
		scope string
		want  string
	}{
		{access.ErrNoToken, "", realm + metadata},
		{access.ErrNoToken, "a", realm + `scope="a", ` + metadata},
		{grant.ErrToken, "a", realm + `error="invalid_token", ` + sentence(grant.ErrToken) + `scope="a", ` + metadata},
		{access.LacksScope("a"), "a", realm + `error="insufficient_scope", ` + sentence(access.LacksScope("a")) +
			`scope="a", ` + metadata},
		{access.ErrTwice, "", realm + `error="invalid_request", ` + sentence(access.ErrTwice) + metadata},
		{stepUp(grant.StepUp{ACR: "aal2"}), "a", realm + `error="insufficient_user_authentication", ` +
			sentence(grant.ErrStepUp) + `scope="a", acr_values="aal2", ` + metadata},
		{stepUp(grant.StepUp{MaxAge: time.Hour}), "", realm + `error="insufficient_user_authentication", ` +
			sentence(grant.ErrStepUp) + `max_age="3600", ` + metadata},
		{fault.New(fault.Unauthenticated, grant.ErrToken.Code, `A "quote", a \ and an ä.`), "",
			realm + `error="invalid_token", error_description="A 'quote', a ' and an ?.", ` + metadata},
		{fault.New(fault.Denied, "action.denied", "No."), "a", ""},
	} {
		at.Scope = tt.scope
		if diff := cmp.Diff(tt.want, at.Challenge(tt.err)); diff != "" {
			t.Errorf("%v: %s", tt.err, diff)
		}
	}
	own := access.Resource{Site: web.Site{Base: "https://login.acme.com"}, Own: resourceserver.Own{Path: "/access/v1"}}
	if got := own.Challenge(access.ErrNoToken); !strings.HasSuffix(got,
		`"https://login.acme.com/.well-known/oauth-protected-resource/access/v1"`) {
		t.Errorf("at a domain of the tenant's: %s", got)
	}
}
