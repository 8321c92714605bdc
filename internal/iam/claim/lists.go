package claim

import (
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// The claims that list what a person is in. SCIM has their names (RFC 9068 §2.2.3.1).
const (
	claimGroups = "groups"
	claimRoles  = "roles"
)

// A list with more entries or bytes than this is not in a token. Servers refuse requests whose
// headers are longer than 8 to 32 KB.
const (
	maxListed      = 200
	maxListedBytes = 16 << 10
)

// holding is a group of a person, or a role that the person has, perhaps by a group.
type holding struct {
	role bool
	id   id.ID
	name string
}

// readHoldings defers the reading of a user's groups and of the user's roles that the tenant has
// defined. The built-in roles are rights in Gatehouse, and no application is told them. Groups do
// not nest (iam/group).
func readHoldings(tx *db.Tx, out *[]holding, user id.ID) {
	db.LaterList(tx, func(r db.Row) (holding, error) {
		var h holding
		var kind int64
		err := r.Scan(&kind, &h.id, &h.name)
		h.role = kind == 2
		return h, err
	}, out, `SELECT 1 AS kind, g.id, g.name FROM group_members m
			JOIN groups g ON g.tenant_id = $1 AND g.id = m.group_id
			WHERE m.tenant_id = $1 AND m.user_id = $2
		UNION SELECT 2, r.id, r.name FROM role_grants a JOIN roles r ON r.tenant_id = $1 AND r.id = a.role_id
			WHERE a.tenant_id = $1 AND a.subject_id = $2 AND (a.until IS NULL OR a.until > $3)
		UNION SELECT 2, r.id, r.name FROM group_members m
			JOIN role_grants a ON a.tenant_id = $1 AND a.subject_id = m.group_id
			JOIN roles r ON r.tenant_id = $1 AND r.id = a.role_id
			WHERE m.tenant_id = $1 AND m.user_id = $2 AND (a.until IS NULL OR a.until > $3)
		ORDER BY 1, 3`, user, tx.Now())
}

// addLists adds the claims groups and roles. A list that is too long for a token is a distributed
// claim: the token names userinfo as its source (OpenID Connect Core §5.6.2). A token that is not
// good at userinfo has no such list. Its service finds the list by introspection.
func (a *About) addLists(out map[string]any, at Place, userinfo string) {
	for name, list := range map[string][]string{claimGroups: a.groups(), claimRoles: a.roles()} {
		switch {
		case !a.wants[at][name]:
		case at == Userinfo || at == Introspection || fits(list):
			out[name] = list
		case userinfo == "":
		default:
			names, _ := out["_claim_names"].(map[string]string)
			if names == nil {
				names = map[string]string{}
			}
			names[name] = "userinfo"
			out["_claim_names"] = names
			out["_claim_sources"] = map[string]any{"userinfo": map[string]string{"endpoint": userinfo}}
		}
	}
}

func fits(list []string) bool {
	size := 0
	for _, s := range list {
		size += len(s) + 3 // quotes and a comma
	}
	return len(list) <= maxListed && size <= maxListedBytes
}

func (a *About) groups() []string {
	out := []string{}
	for _, h := range a.held {
		switch {
		case h.role || !application.Matches(a.app.Claims.Groups, h.name):
		case a.app.Claims.GroupIDs:
			out = append(out, h.id.String())
		default:
			out = append(out, h.name)
		}
	}
	return out
}

func (a *About) roles() []string {
	out := []string{}
	for _, h := range a.held {
		if h.role && application.Matches(a.app.Claims.Roles, h.name) {
			out = append(out, h.name)
		}
	}
	return out
}
