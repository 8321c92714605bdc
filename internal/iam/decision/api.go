package decision

import (
	"context"
	"slices"
	"strconv"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
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
	Action       string    `query:"action" maxLength:"256" doc:"An action of the request."`
	Effect       string    `query:"effect" enum:"EFFECT_ALLOW,EFFECT_DENY" doc:"The effect on action, or on any action if that is omitted."`
	Kind         string    `query:"kind" enum:"check,plan,evaluation,signin,admin"`
	Application  string    `query:"application" format:"uuid" doc:"The id of the application that sent the request."`
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
			return Filter{}, fault.InvalidField("request.invalid", "application",
				"This must be the id of an application.")
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

type explainInput struct {
	api.ByID
	Index int `query:"index" minimum:"0" doc:"The index of the resource in the request, from 0."`
}

type replayInput struct {
	Body *struct {
		From    *time.Time `json:"from,omitempty" doc:"The beginning of the period, inclusive. Default: seven days before its end."`
		To      *time.Time `json:"to,omitempty" doc:"The end of the period, exclusive. Default: now."`
		Records *int       `json:"records,omitempty" minimum:"1" maximum:"200000" doc:"The maximum number of records to replay, the newest first. Default: 10000. Records that no draft can change are skipped and do not count."`
	}
}

// period returns the requested period, with its defaults.
func (in *replayInput) period(now time.Time) (Period, error) {
	p := Period{To: now, Records: replayRecords}
	if in.Body != nil && in.Body.To != nil {
		p.To = *in.Body.To
	}
	p.From = p.To.Add(-replayDays * 24 * time.Hour)
	if in.Body != nil && in.Body.From != nil {
		p.From = *in.Body.From
	}
	if in.Body != nil && in.Body.Records != nil {
		p.Records = *in.Body.Records
	}
	if !p.From.Before(p.To) || p.From.Year() < 1970 || p.To.Year() > 9999 {
		return Period{}, errPeriod
	}
	return p, nil
}

// Deps are the parts of other packages that the operations need.
type Deps struct {
	Clock clock.Clock
	// Base returns the compiled base policies, for decisions on kinds that belong to Gatehouse.
	Base func() ([]byte, error)
}

// atOnce bounds the requests of one tenant that compile or replay at the same time.
const atOnce = 2

// Operations returns the management operations on decisions.
func Operations(deps Deps) []api.Operation {
	return slices.Concat(deps.recordOperations(), deps.replayOperations(), settingsOperations())
}

func (deps Deps) recordOperations() []api.Operation {
	return []api.Operation{
		api.Read(api.Op{Method: "GET", Path: "/decisions", ID: "list-decisions", Action: "decision.read",
			Tag: "Decisions", Summary: "List decisions",
			Description: "Newest first. An item is one answer, with the results that the filter matches. " +
				"A filter without an index " +
				"searches a bounded number of records for each page. So a page may be short or empty and still " +
				"have a `next_cursor`: continue with it."},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *listInput) (page.List[View], error) {
				f, err := in.filter()
				if err != nil {
					return page.List[View]{}, err
				}
				r, err := in.Request()
				if err != nil {
					return page.List[View]{}, err
				}
				l, err := List(ctx, tx, f, r)
				return page.Map(l, func(r Record) View {
					r.hideFrom(req.Rights)
					return listed(r)
				}), err
			}),
		api.Read(api.Op{Method: "GET", Path: "/decisions/{id}", ID: "get-decision", Action: "decision.read",
			Tag: "Decisions", Summary: "Get a decision with its input"},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (View, error) {
				r, err := Get(ctx, tx, in.ID)
				if err != nil {
					return View{}, err
				}
				r.hideFrom(req.Rights)
				return r.view(true), nil
			}),
		api.Call(api.Op{Method: "GET", Path: "/decisions/{id}/explain", ID: "explain-decision", Action: "decision.read",
			Tag: "Decisions", Summary: "Explain a decision", AtOnce: atOnce, Errors: []int{409},
			Description: "Evaluates one resource of the decision again with the policies of its revision. Shows each " +
				"rule and condition with the values it read and their sources."},
			deps.explain),
	}
}

func (deps Deps) replayOperations() []api.Operation {
	return []api.Operation{
		api.Call(api.Op{Method: "POST", Path: "/policies/draft/replay", ID: "replay-policy-draft",
			Action: "policy.replay", Reads: "policy.replay", Tag: "Policy draft",
			Summary: "Replay recorded decisions with the draft",
			AtOnce:  atOnce,
			Description: "Answers the decisions of a period again, with the draft and with the revision in force, " +
				"and shows where they differ. Answers that differ from the records stand apart. The replay " +
				"ends when it has read all of them, or after 20 seconds, the given number of records, or 2000 " +
				"flips. Then `complete` is false, and another replay with `to` set to `until` continues. To publish " +
				"this version of the draft, acknowledge its new ALLOWs."},
			deps.replay),
		api.Read(api.Op{Method: "GET", Path: "/policies/draft/replay", ID: "get-policy-draft-replay",
			Action: "policy.replay", Tag: "Policy draft", Summary: "Get the draft's last replay",
			Description: "Of the draft as it is now: a change of the draft makes its replays void."},
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *struct{}) (Report, error) {
				version, err := policy.DraftVersion(ctx, tx)
				if err != nil {
					return Report{}, err
				}
				return lastReplay(ctx, tx, version)
			}),
	}
}

func settingsOperations() []api.Operation {
	return []api.Operation{
		api.Read(api.Op{Method: "GET", Path: "/decision-settings", ID: "get-decision-settings", Action: "settings.read",
			Tag: "Decisions", Summary: "Get the settings of decision records"},
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *struct{}) (Settings, error) {
				return ReadSettings(ctx, tx)
			}),
		api.Change(api.Op{Method: "PUT", Path: "/decision-settings", ID: "put-decision-settings",
			Action: "settings.update", Tag: "Decisions",
			Summary: "Replace the settings of decision records"},
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *settingsInput) (Settings, error) {
				return holdSettings(ctx, tx)
			},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *settingsInput) (Settings, error) {
				return in.Body, WriteSettings(ctx, tx, in.Body)
			}),
	}
}

func (deps Deps) explain(ctx context.Context, d *db.DB, req api.Request, in *explainInput) (Explained, error) {
	type answered struct {
		record Record
		by     engine.Published // what answered it; without a table: the base policies
	}
	a, err := db.Read(ctx, d, req.Caller, func(tx *db.Tx) (answered, error) {
		r, err := Get(ctx, tx, in.ID)
		if err != nil || r.Revision == 0 || in.Index >= len(r.Inputs) ||
			engine.Reserved(r.Inputs[in.Index].GetResource().GetKind()) {
			return answered{r, engine.Published{Settings: engine.DefaultSettings()}}, err
		}
		by, err := policy.Published(ctx, tx, r.Revision)
		return answered{r, by}, err
	})
	if err == nil && a.by.Table == nil {
		a.by.Table, err = deps.Base()
	}
	if err != nil {
		return Explained{}, err
	}
	x, err := Explain(ctx, a.record, in.Index, a.by)
	if err == nil && a.record.hideFrom(req.Rights) {
		x.Result = a.record.view(true).Results[in.Index]
		x.hideValues()
	}
	return x, err
}

func (deps Deps) replay(ctx context.Context, d *db.DB, req api.Request, in *replayInput) (Report, error) {
	p, err := in.period(deps.Clock.Now())
	if err != nil {
		return Report{}, err
	}
	p.WithoutPeople = !req.Rights.Allows("user.read") || !req.Rights.Allows("role.read")
	draft, err := policy.Rehearse(ctx, d, req.Caller)
	if err != nil {
		return Report{}, err
	}
	r, err := Replay(ctx, d, req.Caller, draft, p)
	if err != nil || !draft.Draft.Changed() { // there is nothing to publish and so nothing to acknowledge
		return r, err
	}
	err = d.Update(ctx, req.Caller, func(tx *db.Tx) error {
		now, err := policy.DraftVersion(ctx, tx)
		if err != nil {
			return err
		}
		if err := keepReplay(ctx, tx, draft.Draft.Version, now, &r); err != nil {
			return err
		}
		return req.Keep(ctx, tx, r)
	})
	return r, err
}
