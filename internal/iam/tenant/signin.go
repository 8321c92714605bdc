package tenant

import (
	"net/netip"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// SignIn has a tenant's rules of signing in: presets that the policy gatehouse:signin reads, so
// that a tenant need not write a policy. The zero SignIn demands nothing.
type SignIn struct {
	KnownNetworks []string      `json:"known_networks,omitempty" maxItems:"100" doc:"The networks that users are expected to sign in from, as CIDR." example:"[\"192.0.2.0/24\"]"`
	SecondFactor  []string      `json:"second_factor,omitempty" maxItems:"2" enum:"admins,unknown_networks" doc:"Who needs a second factor if mfa is optional. admins: users who may do anything in the management API. unknown_networks: users who come from any other network; they cannot set up a new one from there."`
	Block         []SignInBlock `json:"block,omitempty" maxItems:"50" doc:"Who may not sign in. One matching rule is enough."`
	Sessions      []SignInLimit `json:"sessions,omitempty" maxItems:"50" doc:"How long sessions last, if that is shorter than session_idle_seconds and session_max_seconds. The shortest matching limit counts."`
}

// Presets of SignIn.SecondFactor.
const (
	SecondFactorAdmins          = "admins"
	SecondFactorUnknownNetworks = "unknown_networks"
)

// SignInBlock blocks sign-ins to which all of its fields apply.
type SignInBlock struct {
	Roles        []string `json:"roles,omitempty" maxItems:"50" doc:"Users with one of these roles."`
	Groups       []string `json:"groups,omitempty" maxItems:"50" doc:"Users in one of these groups, by id."`
	Applications []string `json:"applications,omitempty" maxItems:"100" doc:"Sign-ins to one of these applications, by id. account stands for the account pages."`
	Network      string   `json:"network,omitempty" enum:"known,unknown" doc:"Sign-ins from a known network, or from any other."`
}

// SignInLimit limits a session whose sign-in all of its fields apply to.
type SignInLimit struct {
	Roles        []string `json:"roles,omitempty" maxItems:"50" doc:"Users with one of these roles."`
	Groups       []string `json:"groups,omitempty" maxItems:"50" doc:"Users in one of these groups, by id."`
	Applications []string `json:"applications,omitempty" maxItems:"100" doc:"Sign-ins to one of these applications, by id. account stands for the account pages."`
	Network      string   `json:"network,omitempty" enum:"known,unknown" doc:"Sign-ins from a known network, or from any other."`
	IdleSeconds  int64    `json:"idle_seconds,omitempty" minimum:"60" maximum:"7776000" doc:"Seconds without a request."`
	MaxSeconds   int64    `json:"max_seconds,omitempty" minimum:"60" maximum:"31536000" doc:"Seconds at most."`
}

// AccountPages stands for the account pages in rules, where applications have their id.
const AccountPages = "account"

// Empty reports whether there is no rule that could refuse or shorten a sign-in.
func (s SignIn) Empty() bool { return len(s.SecondFactor)+len(s.Block)+len(s.Sessions) == 0 }

// DependsOnPerson reports whether a rule depends on the user's roles or groups.
func (s SignIn) DependsOnPerson() bool {
	return slices.Contains(s.SecondFactor, SecondFactorAdmins) ||
		slices.ContainsFunc(s.Block, func(b SignInBlock) bool { return len(b.Roles)+len(b.Groups) > 0 }) ||
		slices.ContainsFunc(s.Sessions, func(l SignInLimit) bool { return len(l.Roles)+len(l.Groups) > 0 })
}

// NamesGroup reports whether a rule depends on a group.
func (s SignIn) NamesGroup(group id.ID) bool {
	name := group.String()
	return slices.ContainsFunc(s.Block, func(b SignInBlock) bool { return slices.Contains(b.Groups, name) }) ||
		slices.ContainsFunc(s.Sessions, func(l SignInLimit) bool { return slices.Contains(l.Groups, name) })
}

// Known reports whether an address belongs to a known network.
func (s SignIn) Known(a netip.Addr) bool {
	return slices.ContainsFunc(s.KnownNetworks, func(text string) bool {
		p, err := netip.ParsePrefix(text)
		return err == nil && p.Contains(a.Unmap().WithZone(""))
	})
}

// maxRuleName bounds the name of a role in a rule, in bytes.
const maxRuleName = 512

// check notes every wrong rule, with prefix before its field.
func (s SignIn) check(prefix string, wrong *fault.Fields) {
	for _, n := range s.KnownNetworks {
		if p, err := netip.ParsePrefix(n); err != nil || p != p.Masked() || p.Addr().Is4In6() {
			wrong.Add(prefix+"known_networks",
				"%.64q is not a network: write an address and the number of its fixed bits, such as 192.0.2.0/24.", n)
			break
		}
	}
	byNetwork := slices.Contains(s.SecondFactor, SecondFactorUnknownNetworks)
	for _, preset := range s.SecondFactor {
		if preset != SecondFactorAdmins && preset != SecondFactorUnknownNetworks {
			wrong.Add(prefix+"second_factor", "This must be admins or unknown_networks.")
		}
	}
	rule := func(field string, roles, groups, applications []string, network string) {
		if network != "" && network != "known" && network != "unknown" {
			wrong.Add(prefix+field, "The network of a rule is known or unknown.")
		}
		byNetwork = byNetwork || network != ""
		for _, name := range roles {
			if name == "" || len(name) > maxRuleName {
				wrong.Add(prefix+field, "A role has a name of at most %d bytes.", maxRuleName)
				return
			}
		}
		for _, g := range groups { // a name could be changed, which would lift the rule
			if !isID(g) {
				wrong.Add(prefix+field, "Name a group by its id, in lower case.")
				return
			}
		}
		for _, a := range applications {
			if a != AccountPages && !isID(a) {
				wrong.Add(prefix+field,
					"Name an application by its id, in lower case, and the account pages by account.")
				return
			}
		}
	}
	for _, b := range s.Block {
		rule("block", b.Roles, b.Groups, b.Applications, b.Network)
		if len(b.Roles)+len(b.Groups)+len(b.Applications) == 0 && b.Network == "" {
			wrong.Add(prefix+"block", "A rule without roles, groups, applications and network would block every user.")
		}
	}
	for _, l := range s.Sessions {
		rule("sessions", l.Roles, l.Groups, l.Applications, l.Network)
		if l.IdleSeconds == 0 && l.MaxSeconds == 0 {
			wrong.Add(prefix+"sessions", "A rule needs idle_seconds, max_seconds or both.")
		}
		if l.IdleSeconds < 0 || l.MaxSeconds < 0 || l.IdleSeconds > 0 && l.IdleSeconds < 60 || l.MaxSeconds > 0 &&
			l.MaxSeconds < 60 {
			wrong.Add(prefix+"sessions", "A session lasts at least 60 seconds.")
		}
	}
	if byNetwork && len(s.KnownNetworks) == 0 {
		wrong.Add(prefix+"known_networks", "A rule depends on known networks, but none is given.")
	}
}

// isID reports whether text is an id as we write it.
func isID(text string) bool {
	i, err := id.Parse(text)
	return err == nil && i.String() == text
}
