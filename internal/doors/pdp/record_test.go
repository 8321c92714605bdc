package pdp_test

import (
	"strings"
	"sync"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

func (r *recorded) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.list)
}

// A principal that is denied everything without a policy has a record with the reason, of a check
// and of a plan.
func TestRefusalsOfPrincipalsAreRecorded(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		token := w.asking(application.FromDirectory)
		ada, _ := w.person("ada", nil, "auditor")
		app := w.machine(w.acme, application.Asserted)
		disabled := application.Disabled
		w.Do(w.acme, func(tx *db.Tx) error {
			_, _, err := application.Update(ctx, tx, everything, app.ID, application.Patch{Status: &disabled})
			return err
		})
		set := func(s user.Status) func() {
			return func() {
				w.Do(w.acme, func(tx *db.Tx) error {
					_, err := user.SetStatus(ctx, tx, role.KeepOwner, ada.ID,
						s)
					return err
				})
			}
		}
		for _, c := range []struct {
			who, reason string
			before      func()
		}{
			{"nobody", "principal.unknown", func() {}},
			{app.ID.String(), "principal.disabled", func() {}},
			{ada.ID.String(), "principal.locked", set(user.Locked)},
			{ada.ID.String(), "principal.deactivated", set(user.Deactivated)},
			{ada.ID.String(), "", set(user.Active)},
		} {
			c.before()
			for path, question := range map[string]string{
				checkPath: `{"principal":{"id":"` + c.who +
					`"},"resources":[{"actions":["view"],"resource":{"kind":"leave_request","id":"L1"}}]}`,
				planPath: `{"actions":["view"],"principal":{"id":"` + c.who +
					`"},"resource":{"kind":"leave_request"}}`,
				"/t/acme/access/v1/evaluation": `{"subject":{"type":"user","id":"` + c.who +
					`"},"resource":{"type":"leave_request","id":"L1"},"action":{"name":"view"}}`,
				"/t/acme/access/v1/evaluations": `{"subject":{"type":"user","id":"` + c.who +
					`"},"action":{"name":"view"},"evaluations":[{"resource":{"type":"leave_request","id":"L1"}}]}`,
			} {
				before := w.recorded.count()
				if a := w.post(token, path, question); a.Status != 200 {
					t.Errorf("%s at %s: %d %s", c.who, path, a.Status, a.Body)
				}
				made, by := w.recorded.last()
				if w.recorded.count() != before+1 || made.Reason != c.reason || by.Tenant != w.acme.Tenant ||
					made.Mode != application.FromDirectory {
					t.Errorf("%s at %s: %d records, %+v", c.who, path, w.recorded.count()-before, made)
					continue
				}
				principal, allowed := made.PlanInput.GetPrincipal(),
					made.PlanOutput.GetFilter().GetKind() == enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED
				if made.Kind != decision.Plan {
					principal, allowed = made.Inputs[0].Principal,
						made.Outputs[0].GetActions()["view"].GetEffect().String() == "EFFECT_ALLOW"
				}
				// The record has who counted: the directory's roles, or nothing but an id.
				if principal.GetId() != c.who || allowed != (c.reason == "") ||
					strings.Contains(strings.Join(principal.GetRoles(), " "), "auditor") != (c.reason == "") ||
					(made.Revision == 7) != (c.reason == "") {
					t.Errorf("%s at %s: revision %d, allowed: %v, principal %v", c.who, path, made.Revision, allowed,
						principal)
				}
			}
		}
	})
}

// A request about two principals, one of them unknown, is one record with both and the reason.
func TestARefusalAmongOthersIsRecorded(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		token := w.asking(application.FromDirectory)
		ada, _ := w.person("ada", nil, "auditor")
		before := w.recorded.count()
		a := w.post(token, "/t/acme/access/v1/evaluations", `{"resource":{"type":"leave_request","id":"L1"},"action":{"name":"view"},"evaluations":[
			{"subject":{"type":"user","id":"nobody"}},{"subject":{"type":"user","id":"`+ada.ID.String()+`"}}]}`)
		made, _ := w.recorded.last()
		if a.Status != 200 || w.recorded.count() != before+1 || made.Reason != "principal.unknown" ||
			made.Revision != 7 || made.Kind != decision.Evaluation || len(made.Inputs) != 2 || len(made.Outputs) != 2 {
			t.Fatalf("%d %s: %+v", a.Status, a.Body, made)
		}
		for i, want := range []struct{ who, effect string }{{"nobody", "EFFECT_DENY"},
			{ada.ID.String(), "EFFECT_ALLOW"}} {
			if made.Inputs[i].Principal.Id != want.who ||
				made.Outputs[i].GetActions()["view"].GetEffect().String() != want.effect {
				t.Errorf("%d: %v %v", i, made.Inputs[i].Principal, made.Outputs[i])
			}
		}
	})
}

// What is remembered of a user's token is shared by all who show it, and each is told by the
// database who it is.
func TestAUsersTokenIsShownByManyAtOnce(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		_, token := w.person("ada", nil, "auditor")
		ask := func() {
			if a := w.post(token, checkPath,
				`{"resources":[{"actions":["view"],"resource":{"kind":"leave_request","id":"L1"}}]}`); a.Status != 200 {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		}
		ask()
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				for range 5 {
					ask()
				}
			})
		}
		wait.Wait()
	})
}
