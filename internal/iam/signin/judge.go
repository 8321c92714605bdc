package signin

import (
	"context"
	"fmt"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// Judge asks the policy gatehouse:signin. It is safe for concurrent use.
type Judge struct {
	Engine    *engine.Engine
	Decisions *decision.Recorder
	Clock     clock.Clock
}

// Question is about one person who signs in, or is signed in already.
type Question struct {
	User        id.ID
	AMR         []string // what they have proved
	Application id.ID    // zero for the account pages
	Settings    tenant.Settings
}

// Verdict is what the policy says of a sign-in.
type Verdict struct {
	Refused      bool // they may not sign in
	SecondFactor bool // a password is not enough
	NoEnrolment  bool // they may not set up a second factor on the way
	Idle, Max    time.Duration

	decision decision.Decision
}

// Decision is the id under which Record keeps the verdict.
func (v Verdict) Decision() id.ID { return v.decision.ID }

// The actions of the policy.
const (
	enter     = "enter"
	oneFactor = "one-factor"
	enrol     = "enrol"
)

// Ask asks the policies about a sign-in from where tx's caller is. It reads the person's
// roles and groups where a rule depends on them.
func (j *Judge) Ask(ctx context.Context, tx *db.Tx, q Question) (Verdict, error) {
	var held role.Set
	var groups []string
	rules := q.Settings.SignIn
	if rules.AskWho() {
		var err error
		if held, err = role.ActionsOf(ctx, tx, role.OfUser(q.User)); err != nil {
			return Verdict{}, err
		}
		if groups, err = groupsOf(ctx, tx, q.User); err != nil {
			return Verdict{}, err
		}
	}
	application := tenant.AccountPages
	if !q.Application.IsZero() {
		application = q.Application.String()
	}
	network := "unknown"
	if rules.Known(tx.Caller().Address) {
		network = "known"
	}
	in := &enginev1.CheckInput{
		RequestId: tx.Caller().RequestID,
		Principal: &enginev1.Principal{Id: q.User.String(), Roles: []string{"user"}, Attr: map[string]*structpb.Value{
			"roles":  texts(held.Roles()),
			"groups": texts(groups),
			"admin":  structpb.NewBoolValue(len(held.Actions()) > 0),
			"amr":    texts(q.AMR),
		}},
		Resource: &enginev1.Resource{Kind: "gatehouse:signin", Id: application, Attr: map[string]*structpb.Value{
			"network":       structpb.NewStringValue(network),
			"mfa_required":  structpb.NewBoolValue(q.Settings.MFA == tenant.MFARequired),
			"second_factor": texts(rules.SecondFactor),
			"block":         blocks(rules.Block),
			"sessions":      limits(rules.Sessions),
		}},
		Actions: []string{enter, oneFactor, enrol},
	}
	began := j.Clock.Now()
	checked, err := j.Engine.Check(ctx, tx.Caller(), []*enginev1.CheckInput{in})
	if err != nil {
		return Verdict{}, fmt.Errorf("signin: ask the policies: %w", err)
	}
	if len(checked.Outputs) != 1 {
		return Verdict{}, fmt.Errorf("signin: %d answers to one question", len(checked.Outputs))
	}
	out := checked.Outputs[0]
	may := func(action string) bool { return out.GetActions()[action].GetEffect() == effectv1.Effect_EFFECT_ALLOW }
	v := Verdict{
		Refused: !may(enter), SecondFactor: !may(oneFactor), NoEnrolment: !may(enrol),
		Idle: q.Settings.SessionIdle, Max: q.Settings.SessionMax,
		decision: decision.Decision{
			ID: id.At(began), Kind: decision.SignIn, Revision: checked.Revision, Took: j.Clock.Now().Sub(began),
			Inputs: []*enginev1.CheckInput{in}, Outputs: checked.Outputs,
		},
	}
	for _, o := range out.GetOutputs() {
		if o.GetAction() != enter {
			continue
		}
		for _, limit := range o.GetVal().GetListValue().GetValues() {
			v.shorten(limit.GetStructValue().GetFields())
		}
	}
	return v, nil
}

// shorten takes a limit of the session that applies.
func (v *Verdict) shorten(limit map[string]*structpb.Value) {
	seconds := func(name string, to *time.Duration) {
		if s := limit[name].GetNumberValue(); s > 0 {
			*to = min(*to, time.Duration(s)*time.Second)
		}
	}
	seconds("max_seconds", &v.Max)
	seconds("idle_seconds", &v.Idle)
	v.Idle = min(v.Idle, v.Max)
}

// Record keeps a verdict among the tenant's decisions, once the transaction of tx has
// been committed.
func (j *Judge) Record(tx *db.Tx, v Verdict) {
	c := tx.Caller()
	tx.AfterCommit(func() { j.Decisions.Record(c, v.decision) })
}

func groupsOf(ctx context.Context, tx *db.Tx, user id.ID) (names []string, err error) {
	l, err := group.OfUser(ctx, tx, user, page.Request{Limit: page.MaxLimit}) // more than a user can be in
	for _, g := range l.Items {
		names = append(names, g.Name)
	}
	return names, err
}

func texts(list []string) *structpb.Value {
	values := make([]*structpb.Value, len(list))
	for i, s := range list {
		values[i] = structpb.NewStringValue(s)
	}
	return structpb.NewListValue(&structpb.ListValue{Values: values})
}

func blocks(all []tenant.SignInBlock) *structpb.Value {
	values := make([]*structpb.Value, len(all))
	for i, b := range all {
		values[i] = structpb.NewStructValue(&structpb.Struct{Fields: rule(b.Roles, b.Groups, b.Applications, b.Network)})
	}
	return structpb.NewListValue(&structpb.ListValue{Values: values})
}

func limits(all []tenant.SignInLimit) *structpb.Value {
	values := make([]*structpb.Value, len(all))
	for i, l := range all {
		fields := rule(l.Roles, l.Groups, l.Applications, l.Network)
		fields["idle_seconds"] = structpb.NewNumberValue(float64(l.IdleSeconds))
		fields["max_seconds"] = structpb.NewNumberValue(float64(l.MaxSeconds))
		values[i] = structpb.NewStructValue(&structpb.Struct{Fields: fields})
	}
	return structpb.NewListValue(&structpb.ListValue{Values: values})
}

func rule(roles, groups, applications []string, network string) map[string]*structpb.Value {
	return map[string]*structpb.Value{
		"roles": texts(roles), "groups": texts(groups), "applications": texts(applications), "network": structpb.NewStringValue(network),
	}
}
