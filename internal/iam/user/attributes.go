package user

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// editor is a caller who edits attributes of a user.
type editor struct {
	declared []tenant.UserAttribute
	rights   api.Rights
	self     bool // the caller is that user
}

// mayEdit fails with a Denied fault that names the first attribute which differs between before and
// after and which the editor may not change. Policies read attributes, so undeclared ones are
// left to administrators.
func (e editor) mayEdit(before, after map[string]any) error {
	if e.rights.Allows("user.attributes") {
		return nil
	}
	names := maps.Clone(before)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, had := before[name]
		now, has := after[name]
		if had == has && sameJSON(old, now) {
			continue
		}
		switch e.editableBy(name) {
		case tenant.ByPerson:
			continue
		case tenant.ByManager:
			if !e.self {
				continue
			}
		}
		return fault.New(fault.Denied, "user.attribute_denied",
			"You may not change the attribute %.64q of this user. That needs user.attributes, unless "+
				"settings.user_attributes leaves it to you.", name)
	}
	return nil
}

// editorOf returns the caller of an operation as an editor of a user, or of a new one for the zero
// id.
func editorOf(ctx context.Context, tx *db.Tx, req api.Request, user id.ID) (editor, error) {
	e := editor{rights: req.Rights}
	if e.rights.Allows("user.attributes") {
		return e, nil
	}
	t, err := tenant.Get(ctx, tx)
	actor := req.Caller.Actor
	e.declared = t.Settings.UserAttributes
	e.self = actor.Kind == caller.User && actor.ID == user && actor.Tenant == req.Caller.Tenant
	return e, err
}

func (e editor) editableBy(name string) tenant.Editor {
	for _, a := range e.declared {
		if a.Name == name {
			return a.EditableBy
		}
	}
	return tenant.ByAdministrator
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
