package tenant

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

func TestSignInRulesAreChecked(t *testing.T) {
	known := []string{"192.0.2.0/24", "2001:db8::/32"}
	for name, tt := range map[string]struct {
		rules SignIn
		good  bool
	}{
		"none":   {SignIn{}, true},
		"admins": {SignIn{SecondFactor: []string{"admins"}}, true},
		"by network": {
			SignIn{KnownNetworks: known, SecondFactor: []string{"unknown_networks"},
				Block: []SignInBlock{{Network: "unknown"}}}, true},
		"by all": {
			SignIn{KnownNetworks: known,
				Block: []SignInBlock{{Roles: []string{"x"}, Groups: []string{"019b76da-a800-7000-a4aa-8654ff05f7ee"},
					Applications: []string{"account", "019b76da-a800-7000-a4aa-8654ff05f7ed"}, Network: "known"}}},
			true},
		"a session":               {SignIn{Sessions: []SignInLimit{{MaxSeconds: 60}}}, true},
		"no networks, but a rule": {SignIn{SecondFactor: []string{"unknown_networks"}}, false},
		"the same, blocking":      {SignIn{Block: []SignInBlock{{Network: "known"}}}, false},
		"the same, sessions":      {SignIn{Sessions: []SignInLimit{{Network: "unknown", MaxSeconds: 60}}}, false},
		"not a network":           {SignIn{KnownNetworks: []string{"192.0.2.1"}}, false},
		"a host for a network":    {SignIn{KnownNetworks: []string{"192.0.2.1/24"}}, false},
		"a mapped network":        {SignIn{KnownNetworks: []string{"::ffff:192.0.2.0/120"}}, false},
		"another preset":          {SignIn{SecondFactor: []string{"everybody"}}, false},
		"blocks everybody":        {SignIn{Block: []SignInBlock{{}}}, false},
		"another network":         {SignIn{KnownNetworks: known, Block: []SignInBlock{{Network: "home"}}}, false},
		"an application's name":   {SignIn{Block: []SignInBlock{{Applications: []string{"billing"}}}}, false},
		"an id in upper case": {
			SignIn{Block: []SignInBlock{{Applications: []string{"019B76DA-A800-7000-A4AA-8654FF05F7ED"}}}}, false},
		"a group's name":          {SignIn{Block: []SignInBlock{{Groups: []string{"Interns"}}}}, false},
		"a role without a name":   {SignIn{Block: []SignInBlock{{Roles: []string{""}}}}, false},
		"a session without limit": {SignIn{Sessions: []SignInLimit{{Roles: []string{"x"}}}}, false},
		"a session of no time":    {SignIn{Sessions: []SignInLimit{{MaxSeconds: 1}}}, false},
		"less than no time":       {SignIn{Sessions: []SignInLimit{{MaxSeconds: -60, IdleSeconds: 60}}}, false},
	} {
		var wrong fault.Fields
		tt.rules.check("signin.", &wrong)
		if (len(wrong) == 0) != tt.good {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}

func TestKnownNetworks(t *testing.T) {
	s := SignIn{KnownNetworks: []string{"192.0.2.0/24", "2001:db8::/32"}}
	for address, want := range map[string]bool{
		"192.0.2.7": true, "::ffff:192.0.2.7": true, "192.0.3.7": false, "2001:db8::1": true, "2001:db8::1%eth0": true,
		"2001:db9::1": false,
	} {
		if got := s.Known(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if s.Known(netip.Addr{}) {
		t.Error("no address is known")
	}
}

func TestUserAttributesAreChecked(t *testing.T) {
	for name, tt := range map[string]struct {
		declared []UserAttribute
		good     bool
	}{
		"none":           {nil, true},
		"each":           {[]UserAttribute{{"a", ByPerson}, {"b", ByManager}, {"c", ByAdministrator}}, true},
		"without a name": {[]UserAttribute{{"", ByPerson}}, false},
		"a long name":    {[]UserAttribute{{strings.Repeat("n", 65), ByPerson}}, false},
		"twice":          {[]UserAttribute{{"a", ByPerson}, {"a", ByManager}}, false},
		"by no one":      {[]UserAttribute{{"a", ""}}, false},
		"too many":       {make([]UserAttribute, maxUserAttributes+1), false},
	} {
		s := DefaultSettings()
		s.UserAttributes = tt.declared
		var wrong fault.Fields
		s.check("", &wrong)
		if (len(wrong) == 0) != tt.good || len(wrong) > 0 && wrong[0].Name != "user_attributes" {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}
