package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// View is an audit event as the API shows it.
type View struct {
	ID        id.ID          `json:"id" format:"uuid"`
	At        time.Time      `json:"at"`
	Action    string         `json:"action" example:"user.create"`
	Outcome   string         `json:"outcome" enum:"success,refused"`
	Actor     ActorView      `json:"actor"`
	Target    TargetView     `json:"target"`
	Address   string         `json:"address,omitempty" doc:"The client address."`
	Agent     string         `json:"agent,omitempty" doc:"The User-Agent."`
	RequestID string         `json:"request_id,omitempty" doc:"Ties the event to the answer and the server's log."`
	Detail    map[string]any `json:"detail,omitempty" doc:"What the action was about. A change has the member changed: the name of each changed field with its values from and to. A long list has the elements removed and added instead. Secrets and long texts are digests. An empty value is left out."`
}

// ActorView is the actor of an event.
type ActorView struct {
	Kind     string `json:"kind" enum:"anonymous,user,application,system"`
	ID       string `json:"id,omitempty"`
	Name     string `json:"name,omitempty"`
	TenantID string `json:"tenant_id,omitempty" doc:"The actor's own tenant, which differs for a platform operator."`
	Via      string `json:"via,omitempty" doc:"The application through which a user acted."`
}

// TargetView is the target of an event.
type TargetView struct {
	Kind string `json:"kind,omitempty"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

func view(r Record) View {
	v := View{
		ID: r.ID, At: r.At, Action: r.Action, Outcome: string(r.Outcome),
		Actor: ActorView{Kind: string(r.Actor.Kind), ID: r.Actor.ID.String(), Name: r.Actor.Name,
			TenantID: r.Actor.Tenant.String(), Via: r.Actor.Via.String()},
		Target:  TargetView{Kind: r.Target.Kind, ID: r.Target.ID, Name: r.Target.Name},
		Address: r.Address, Agent: r.Agent, RequestID: r.RequestID,
	}
	d := json.NewDecoder(bytes.NewReader(r.Detail))
	d.UseNumber()           // a large number stays exact
	_ = d.Decode(&v.Detail) // written by us
	return v
}

// FilterInput is a Filter as the API takes it.
type FilterInput struct {
	Action    string    `query:"action" maxLength:"100" doc:"An action (user.create), or a noun and a dot (user.) for all its actions."`
	Actor     string    `query:"actor" format:"uuid" doc:"The id of the user or application that acted."`
	Target    string    `query:"target" maxLength:"256" doc:"The id of the target."`
	Outcome   string    `query:"outcome" enum:"success,refused"`
	RequestID string    `query:"request_id" maxLength:"128" doc:"The request_id of an answer: the events that this request left."`
	From      time.Time `query:"from" doc:"The earliest time, inclusive."`
	To        time.Time `query:"to" doc:"The latest time, exclusive."`
}

// filter returns the Filter. It fails with an Invalid fault that names the field.
func (in FilterInput) filter() (Filter, error) {
	f := Filter{Action: in.Action, Outcome: Outcome(in.Outcome), TargetID: in.Target, RequestID: in.RequestID,
		From: in.From, To: in.To}
	if in.Actor == "" {
		return f, nil
	}
	var err error
	if f.Actor, err = id.Parse(in.Actor); err != nil {
		return Filter{}, fault.InvalidField("request.invalid", "actor", "This must be the id of a user or application.")
	}
	return f, nil
}

type listInput struct {
	api.Page
	FilterInput
}

// Operations returns the management operations on audit events, which are read-only.
func Operations() []api.Operation {
	return []api.Operation{
		api.Read(api.Op{Method: "GET", Path: "/audit-events", ID: "list-audit-events", Action: "audit.read",
			Tag: "Audit", Summary: "List audit events", Description: "Newest first."},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *listInput) (page.List[View], error) {
				f, err := in.filter()
				if err != nil {
					return page.List[View]{}, err
				}
				r, err := in.Request()
				if err != nil {
					return page.List[View]{}, err
				}
				l, err := List(ctx, tx, f, r)
				return page.Map(l, view), err
			}),
		api.Read(api.Op{Method: "GET", Path: "/audit-events/{id}", ID: "get-audit-event", Action: "audit.read",
			Tag: "Audit", Summary: "Get an audit event"},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				r, err := get(ctx, tx, in.ID)
				if err != nil {
					return View{}, err
				}
				return view(r), nil
			}),
		api.Call(api.Op{Method: "GET", Path: "/audit-events/export", ID: "export-audit-events", Action: "audit.read",
			Tag: "Audit", Summary: "Export audit events as NDJSON or CSV", AtOnce: 2,
			Produces: []string{"application/x-ndjson", "text/csv"},
			Description: "All events that the filters let through, newest first, of any number. A line of NDJSON is " +
				"an event as the list shows it. The export itself leaves an event, audit.export."},
			export),
	}
}
