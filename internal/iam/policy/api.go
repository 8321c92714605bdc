package policy

import (
	"context"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Deps is what the operations need from other packages.
type Deps struct {
	// Acknowledged refuses, by a Conflict fault, to publish a version of the draft whose
	// replay found decisions that become ALLOW and were not acknowledged. It runs in the
	// transaction that publishes; acknowledged is what the request says. nil accepts all.
	Acknowledged func(ctx context.Context, tx *db.Tx, draft id.ID, acknowledged string) error
}

// Bounds on a tenant's costly requests at once. The whole process has few places for compiling, so
// a tenant gets one. Other costly requests pack archives.
const (
	compiling = 1
	costly    = 2
)

// The tags of the operations in the OpenAPI document.
const draftTag, revisionTag, settingsTag = "Policy draft", "Policy revisions", "Policy settings"

// Operations are the management operations on policies.
func Operations(deps Deps) []api.Operation {
	return slices.Concat(deps.draftOperations(), revisionOperations(), deps.settingsOperations())
}
