package policy

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

func (deps Deps) settingsOperations() []api.Operation {
	return []api.Operation{
		api.Read(api.Op{Method: "GET", Path: "/policies/settings", ID: "get-policy-settings", Action: "policy.read",
			Tag: settingsTag, Summary: "Get the settings of the policy engine"},
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *struct{}) (SettingsView, error) {
				s, err := settingsInForce(ctx, tx)
				return settingsView(s), err
			}),
		api.Call(api.Op{Method: "PATCH", Path: "/policies/settings", ID: "update-policy-settings",
			Action: "policy.publish", Tag: settingsTag, Summary: "Update the settings of the policy engine",
			AtOnce: compiling, Errors: []int{422}, Versioned: true,
			Description: "They apply at once: the files in force are tested by them and published again, as a new " +
				"revision. To try settings first, change those of the draft."},
			deps.configure),
	}
}
