package application

import (
	"reflect"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// reserved begins the scopes that Gatehouse itself reads.
const reserved = "gatehouse:"

// ReservedScope reports whether Gatehouse itself reads a scope. A token with such a scope acts in
// the tenant for its holder.
func ReservedScope(scope string) bool { return strings.HasPrefix(scope, reserved) }

// powers returns the actions that a caller must be allowed in order to decide about the
// application. It is empty for one that acts for no one.
//
// An application with mappings is told things about people that no scope asks them to allow.
//
// A pairwise one is told the subs of its sector, by which applications of one sector can compare
// their users.
//
// To decide is to say what it can do for others, which program is it, and whether it exists.
//
// The scope gatehouse:manage can do what the application's roles allow, and role.MayManage compares
// those.
func (a *Application) powers() []string {
	directory := a.PrincipalMode == FromDirectory || len(a.Mappings) > 0
	if !directory && !a.FirstParty && a.ownsSector() && !slices.ContainsFunc(a.Scopes, ReservedScope) {
		return nil
	}
	actions := []string{"application.trust"}
	if directory || a.Type != Machine && slices.Contains(a.Scopes, ScopeDecide) {
		actions = append(actions, "user.read", "group.read", "role.read")
	}
	return actions
}

// manage gives a machine that sets no scopes the management API, if its creator may. A creator who
// may not still gets a machine, without scopes.
func (n *New) manage(by api.Rights) {
	if n.Type == Machine && n.Scopes == nil && by.Allows("application.trust") {
		n.Scopes = []string{ScopeManage}
	}
}

// mayTrust fails with a Denied fault unless by allows the powers of each application.
func mayTrust(by api.Rights, apps ...*Application) error {
	for _, a := range apps {
		for _, action := range a.powers() {
			if !by.Allows(action) {
				return fault.New(fault.Denied, api.Denied(action).Code, "An application acts for others if it is "+
					"first_party, has a scope of gatehouse:, asks the directory or has mappings. One with the "+
					"pairwise subs of another sector does too. That needs %s, which none of your roles allows.",
					action)
			}
		}
	}
	return nil
}

// mayChange fails with a Denied fault if the change from before to after needs a right that by
// lacks. A change of any field needs the powers, so that a later field needs them too. Only
// disabling does not: it takes power away.
func mayChange(by api.Rights, before, after *Application) error {
	was := *before
	if after.Status == Disabled {
		was.Status = Disabled
	}
	if reflect.DeepEqual(&was, after) {
		return nil
	}
	return mayTrust(by, before, after)
}
