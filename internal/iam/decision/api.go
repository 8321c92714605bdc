package decision

import (
	"context"
	"strconv"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

type listInput struct {
	api.Page
	Principal    string    `query:"principal" maxLength:"1024" doc:"The principal's id."`
	ResourceKind string    `query:"resource_kind" maxLength:"256" doc:"The kind of a resource."`
	ResourceID   string    `query:"resource_id" maxLength:"1024" doc:"The id of a resource."`
	Action       string    `query:"action" maxLength:"256" doc:"An action asked for."`
	Effect       string    `query:"effect" enum:"EFFECT_ALLOW,EFFECT_DENY" doc:"The effect on action, or on any where action is left out."`
	Kind         string    `query:"kind" enum:"check,plan,evaluation,signin,admin"`
	Application  string    `query:"application" format:"uuid" doc:"The id of the application that asked."`
	Revision     string    `query:"revision" pattern:"^[0-9]{1,18}$" patternDescription:"a number" doc:"The policy revision that answered."`
	From         time.Time `query:"from" doc:"The earliest time, inclusive, to the millisecond."`
	To           time.Time `query:"to" doc:"The latest time, exclusive, to the millisecond."`
}

func (in *listInput) filter() (Filter, error) {
	f := Filter{Principal: in.Principal, ResourceKind: in.ResourceKind, ResourceID: in.ResourceID, Action: in.Action,
		Effect: effectv1.Effect(effectv1.Effect_value[in.Effect]), Kind: Kind(in.Kind), From: in.From, To: in.To}
	if in.Application != "" {
		application, err := id.Parse(in.Application)
		if err != nil {
			return Filter{}, fault.InvalidField("request.invalid", "application", "This must be the id of an application.")
		}
		f.Application = application
	}
	if in.Revision != "" {
		n, err := strconv.ParseInt(in.Revision, 10, 64)
		if err != nil {
			return Filter{}, fault.InvalidField("request.invalid", "revision", "This must be the number of a revision.")
		}
		f.Revision = &n
	}
	return f, nil
}

type settingsInput struct {
	Body Settings
}

// Operations are the management operations on decisions.
func Operations() []api.Operation {
	return []api.Operation{
		api.Read(api.Op{Method: "GET", Path: "/decisions", ID: "list-decisions", Action: "decision.read", Tag: "Decisions", Summary: "List decisions, newest first",
			Description: "An item is one answer, with the results that the filter is about. A filter on what has no index searches a bounded number of records for each page, so a page may be short, or empty, and still have a `next_cursor`: go on with it."},
			func(ctx context.Context, tx *db.Tx, in *listInput) (page.List[View], error) {
				f, err := in.filter()
				if err != nil {
					return page.List[View]{}, err
				}
				r, err := in.Request()
				if err != nil {
					return page.List[View]{}, err
				}
				l, err := List(ctx, tx, f, r)
				return page.Map(l, listed), err
			}),
		api.Read(api.Op{Method: "GET", Path: "/decisions/{id}", ID: "get-decision", Action: "decision.read", Tag: "Decisions", Summary: "Get a decision with its input"},
			func(ctx context.Context, tx *db.Tx, in *api.ByID) (View, error) {
				r, err := Get(ctx, tx, in.ID)
				if err != nil {
					return View{}, err
				}
				return r.view(true), nil
			}),
		api.Read(api.Op{Method: "GET", Path: "/decision-settings", ID: "get-decision-settings", Action: "settings.read", Tag: "Decisions", Summary: "Get what is kept of decisions, and how long"},
			func(ctx context.Context, tx *db.Tx, _ *struct{}) (Settings, error) { return ReadSettings(ctx, tx) }),
		api.Write(api.Op{Method: "PUT", Path: "/decision-settings", ID: "put-decision-settings", Action: "settings.update", Tag: "Decisions", Summary: "Set what is kept of decisions, and how long"},
			func(_ context.Context, tx *db.Tx, in *settingsInput) (Settings, error) {
				return in.Body, WriteSettings(tx, in.Body)
			}),
	}
}
