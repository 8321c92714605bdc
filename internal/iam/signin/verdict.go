package signin

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// Verdict is what the policy gatehouse:signin says of a sign-in.
type Verdict struct {
	Refused      bool // the user may not sign in
	SecondFactor bool // a password is not enough
	NoEnrolment  bool // the user may not set up a second factor on the way
	Idle, Max    time.Duration

	decision decision.Decision
}

// The actions of the policy.
const (
	enter     = "enter"
	oneFactor = "one-factor"
	enrol     = "enrol"
)

// asked is a sign-in that the policies are asked about.
type asked struct {
	person id.ID
	app    id.ID // zero for the account pages
	amr    []string
	from   netip.Addr
	known  bool // from is the person's address; otherwise the sign-in was from a known network
}

// ask evaluates the policies for a sign-in. It reads the person's roles and groups only if a rule
// depends on them.
func (e *Engine) ask(ctx context.Context, tx *db.Tx, q asked) (Verdict, error) {
	of, err := e.Tenants.ByID(ctx, tx.Tenant())
	if err != nil {
		return Verdict{}, err
	}
	var held role.Set
	var groups []string
	rules := of.Settings.SignIn
	if rules.DependsOnPerson() {
		if held, err = role.ActionsOf(ctx, tx, role.OfUser(q.person)); err != nil {
			return Verdict{}, err
		}
		if groups, err = groupsOf(ctx, tx, q.person); err != nil {
			return Verdict{}, err
		}
	}
	application := tenant.AccountPages
	if !q.app.IsZero() {
		application = q.app.String()
	}
	network := "unknown"
	if !q.known || rules.Known(q.from) {
		network = "known"
	}
	in := &enginev1.CheckInput{
		RequestId: tx.Caller().RequestID,
		Principal: &enginev1.Principal{Id: q.person.String(), Roles: []string{"user"}, Attr: map[string]*structpb.Value{
			"roles":  engine.Texts(held.Roles()),
			"groups": engine.Texts(groups),
			"admin":  structpb.NewBoolValue(len(held.Actions()) > 0),
			"amr":    engine.Texts(q.amr),
		}},
		Resource: &enginev1.Resource{Kind: "gatehouse:signin", Id: application, Attr: map[string]*structpb.Value{
			"network":       structpb.NewStringValue(network),
			"mfa_required":  structpb.NewBoolValue(of.Settings.MFA == tenant.MFARequired),
			"second_factor": engine.Texts(rules.SecondFactor),
			"block":         blocks(rules.Block),
			"sessions":      limits(rules.Sessions),
		}},
		Actions: []string{enter, oneFactor, enrol},
	}
	began := e.Clock.Now()
	checked, err := e.Policies.Check(ctx, tx.Caller(), []*enginev1.CheckInput{in})
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
		Idle: of.Settings.SessionIdle(), Max: of.Settings.SessionMax(),
		decision: decision.Decision{
			ID: id.At(began), Kind: decision.SignIn, Revision: checked.Revision, Took: e.Clock.Now().Sub(began),
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

// satisfied reports whether a sign-in of the level acr has the factors that v asks for.
func (v Verdict) satisfied(acr string) bool { return !v.SecondFactor || acr == TwoFactors }

// outlived reports whether a session has lasted longer at now than v lets one last.
func (v Verdict) outlived(on *session.Session, now time.Time) bool {
	return now.Sub(on.AuthTime) > v.Max || now.Sub(on.LastSeen) > v.Idle
}

// shorten applies one limit of the session.
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

// record keeps a verdict among the tenant's decisions once tx is committed.
func (e *Engine) record(tx *db.Tx, v Verdict) {
	c := tx.Caller()
	tx.AfterCommit(func() { e.Decisions.Record(c, v.decision) })
}

// groupsOf returns the ids of a user's groups, by which rules name them. Their names follow, for
// rules that were stored with names.
func groupsOf(ctx context.Context, tx *db.Tx, user id.ID) ([]string, error) {
	var ids, names []string
	l, err := group.OfUser(ctx, tx, user, page.Request{Limit: page.MaxLimit}) // more than a user can be in
	for _, g := range l.Items {
		ids, names = append(ids, g.ID.String()), append(names, g.Name)
	}
	return append(ids, names...), err
}

func blocks(all []tenant.SignInBlock) *structpb.Value {
	values := make([]*structpb.Value, len(all))
	for i, b := range all {
		values[i] = structpb.NewStructValue(&structpb.Struct{
			Fields: rule(b.Roles, b.Groups, b.Applications, b.Network)})
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
		"roles": engine.Texts(roles), "groups": engine.Texts(groups), "applications": engine.Texts(applications),
		"network": structpb.NewStringValue(network),
	}
}
