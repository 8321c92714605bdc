package compiler

import (
	"context"
	"errors"
	"slices"
	"strings"

	cerbospolicy "github.com/cerbos/cerbos/private/policy"
	"google.golang.org/protobuf/proto"
)

// Kinds of changes, of files and of policies.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// PolicyChange is a policy that was added, removed or changed.
type PolicyChange struct {
	Policy string `json:"policy" example:"resource.album.vdefault/acme" doc:"The policy as Cerbos names it: kind, name, version and scope."`
	Change string `json:"change" enum:"added,removed,changed"`
	File   string `json:"file" doc:"The policy's file, or the one that had it."`
}

// ComparePolicies returns the policies that change when now replaces old, by name. A comment, or a
// move to another file, changes no policy.
//
// Files without policies (test suites, schemas) and unreadable files count as empty. If the files
// end the sandbox, it returns no changes, because the policies are not known. The error is a fault
// of ours.
func ComparePolicies(ctx context.Context, old, now Files) ([]PolicyChange, error) {
	r, err := sandboxed(ctx, task{Do: "compare", Old: old, Files: now})
	if _, ok := errors.AsType[Problems](err); ok {
		return []PolicyChange{}, nil
	}
	if err != nil {
		return nil, err
	}
	return append([]PolicyChange{}, r.Changes...), nil
}

// comparePolicies is ComparePolicies inside the sandbox.
func comparePolicies(old, now Files) []PolicyChange {
	before, after := namePolicies(old), namePolicies(now)
	out := []PolicyChange{}
	for name, b := range before {
		if a, still := after[name]; !still {
			out = append(out, PolicyChange{name, Removed, b.file})
		} else if !proto.Equal(a.policy, b.policy) {
			out = append(out, PolicyChange{name, Changed, a.file})
		}
	}
	for name, a := range after {
		if _, was := before[name]; !was {
			out = append(out, PolicyChange{name, Added, a.file})
		}
	}
	slices.SortFunc(out, func(a, b PolicyChange) int { return strings.Compare(a.Policy, b.Policy) })
	return out
}

// namePolicies returns the policies of files by the names that Cerbos gives them.
func namePolicies(files Files) map[string]source {
	out := map[string]source{}
	for _, p := range readPolicies(files) {
		out[cerbospolicy.Wrap(p.policy).GetKey()] = p
	}
	return out
}
