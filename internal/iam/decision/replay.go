package decision

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Bounds of a replay.
const (
	replayDays    = 7 // the period of a replay without a beginning
	replayRecords = 10_000
	replayTime    = 20 * time.Second
	maxFlips      = 2000 // groups; a replay that finds more stops
)

// Report says how the draft answers what was recorded, beside the revision in force.
type Report struct {
	ID           id.ID     `json:"id" format:"uuid"`
	At           time.Time `json:"at"`
	DraftVersion string    `json:"draft_version" doc:"The version of the draft that was replayed."`
	Revision     int64     `json:"revision" doc:"The revision in force that the draft is compared with; 0 for none."`
	From         time.Time `json:"from"`
	To           time.Time `json:"to"`

	Complete bool      `json:"complete" doc:"Every record of the period was replayed."`
	Stopped  string    `json:"stopped,omitempty" enum:"records,time,flips" doc:"The limit that ended the replay."`
	Until    time.Time `json:"until" doc:"The time that the replay reached. If it is not complete, another replay with this time as its end continues."`

	Records      int          `json:"records" doc:"The number of records read, the newest first."`
	Replayed     int          `json:"replayed" doc:"The number of records that the draft answered."`
	Unaffected   int          `json:"unaffected" doc:"Records that no draft can change: of kinds that belong to Gatehouse, or whose principal was refused before a policy was asked. They do not count towards the limit of records."`
	Unreplayable []UnableView `json:"unreplayable" doc:"Records that the draft could not answer, by reason."`
	Answers      int          `json:"answers" doc:"Answers compared: one for each action on each resource."`
	NewAllows    []Flip       `json:"new_allows" doc:"Answers that the revision in force denies and the draft allows."`
	NewDenies    []Flip       `json:"new_denies" doc:"Answers that the revision in force allows and the draft denies."`
	ChangedPlans []Flip       `json:"changed_plans" doc:"Plans to which the draft gives another condition."`
	Differ       int          `json:"differ" doc:"The number of answers of the draft that differ from the recorded ones, for example because a revision was published since."`
	Differences  []Flip       `json:"differences" doc:"These answers, at most 2000. Before is the recorded one. They need no acknowledgement."`
	Acknowledge  string       `json:"acknowledge,omitempty" doc:"Send this as acknowledged when you publish the draft, to confirm the new ALLOWs of all its replays."`

	digest string // of NewAllows; "" if there are none
}

// UnableView counts records that could not be replayed.
type UnableView struct {
	Reason  string `json:"reason" example:"redacted: principal.attr.email"`
	Records int    `json:"records"`
}

// Flip is a changed answer about a principal, a resource and an action, with its number of
// occurrences.
type Flip struct {
	Principal    string    `json:"principal"`
	ResourceKind string    `json:"resource_kind"`
	ResourceID   string    `json:"resource_id,omitempty" doc:"Absent for a plan."`
	Action       string    `json:"action"`
	Before       string    `json:"before" example:"EFFECT_DENY"`
	After        string    `json:"after" example:"EFFECT_ALLOW"`
	Policy       string    `json:"policy,omitempty" doc:"The policy of the draft that would decide."`
	Times        int       `json:"times"`
	First        time.Time `json:"first"`
	Last         time.Time `json:"last"`
	Decision     id.ID     `json:"decision_id" format:"uuid" doc:"The last such decision."`
}

type flipped struct{ principal, kind, resource, action, before, after string }

// replay collects the changed answers.
type replay struct {
	draft   *engine.Evaluator
	current *engine.Evaluator      // of the revision in force; nil if nothing is published
	reads   func(path string) bool // whether the draft or the revision may read a redacted attribute
	report  Report

	withoutPeople bool // see Period

	flips  map[flipped]*Flip
	differ map[flipped]*Flip
	unable map[string]int
}

// record replays one record.
func (p *replay) record(ctx context.Context, r *Record) error {
	why, err := p.answer(ctx, r)
	if err != nil { // out of time: the next replay starts with this record
		return err
	}
	p.report.Records++
	p.report.Until = r.At
	switch {
	case why == unaffected:
		p.report.Unaffected++
	case why != "":
		p.unable[why]++
	default:
		p.report.Replayed++
	}
	return nil
}

const unaffected = "unaffected"

// answer compares the draft's answer with that of the revision in force, and with the recorded one.
// It returns why it could not, or "".
func (p *replay) answer(ctx context.Context, r *Record) (string, error) {
	switch {
	case r.Reason != "" && r.PlanInput == nil && r.principalKey() == several:
		return "some of several principals were refused", nil
	case r.Reason != "" || r.Kind == SignIn || r.Kind == Admin:
		return unaffected, nil
	case p.withoutPeople && r.ofDirectory():
		return "about people of the directory: needs user.read and role.read", nil
	case r.Oversized:
		return "oversized", nil
	}
	for _, m := range r.Redacted {
		if p.reads(m.Path) {
			return "redacted: " + m.Path, nil
		}
	}
	if r.PlanInput != nil {
		return p.plan(ctx, r)
	}
	var in []*enginev1.CheckInput
	var recorded []*enginev1.CheckOutput
	for i, input := range r.Inputs {
		if i < len(r.Outputs) && !engine.Reserved(input.GetResource().GetKind()) {
			in, recorded = append(in, input), append(recorded, r.Outputs[i])
		}
	}
	if len(in) == 0 {
		return unaffected, nil
	}
	after, err := p.draft.Check(ctx, in)
	if err != nil {
		return noAnswerOfDraft, ctx.Err()
	}
	before := make([]*enginev1.CheckOutput, len(in)) // without policies: every action is denied
	if p.current != nil {
		if before, err = p.current.Check(ctx, in); err != nil {
			return noAnswerInForce, ctx.Err()
		}
	}
	for i, input := range in {
		for action, was := range recorded[i].GetActions() {
			p.report.Answers++
			now := after[i].GetActions()[action]
			f := flipped{principal: input.GetPrincipal().GetId(), kind: input.GetResource().GetKind(),
				resource: input.GetResource().GetId(), action: action, after: effect(now).String()}
			p.compare(r, f, effect(before[i].GetActions()[action]).String(), was.GetEffect().String(), now.GetPolicy())
		}
	}
	return "", nil
}

// Reasons why a record cannot be replayed.
const (
	noAnswerOfDraft = "the draft cannot answer"
	noAnswerInForce = "the revision in force cannot answer"
)

// compare counts an answer of the draft that is not the one in force, or not the recorded one.
func (p *replay) compare(r *Record, f flipped, inForce, recorded, by string) {
	if f.before = inForce; f.before != f.after {
		count(p.flips, r, f, by)
	}
	if f.before = recorded; f.before != f.after {
		p.differs(r, f, by)
	}
}

// differs counts an answer that is not the recorded one. It lists the first of them.
func (p *replay) differs(r *Record, f flipped, by string) {
	p.report.Differ++
	if _, known := p.differ[f]; known || len(p.differ) < maxFlips {
		count(p.differ, r, f, by)
	}
}

// effect returns the effect of a; a missing answer is a deny.
func effect(a *enginev1.CheckOutput_ActionEffect) effectv1.Effect {
	if a == nil {
		return effectv1.Effect_EFFECT_DENY
	}
	return a.GetEffect()
}

func (p *replay) plan(ctx context.Context, r *Record) (string, error) {
	if engine.Reserved(r.PlanInput.GetResource().GetKind()) {
		return unaffected, nil
	}
	after, err := p.draft.Plan(ctx, r.PlanInput)
	if err != nil {
		return noAnswerOfDraft, ctx.Err()
	}
	before := &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED}
	if p.current != nil {
		inForce, err := p.current.Plan(ctx, r.PlanInput)
		if err != nil {
			return noAnswerInForce, ctx.Err()
		}
		before = inForce.GetFilter()
	}
	p.report.Answers++
	now, was := after.GetFilter(), r.PlanOutput.GetFilter()
	f := flipped{principal: r.PlanInput.GetPrincipal().GetId(), kind: r.PlanInput.GetResource().GetKind(),
		action: strings.Join(planActions(r.PlanInput), ","), after: now.GetKind().String()}
	if f.before = before.GetKind().String(); !samePlan(before, now) {
		count(p.flips, r, f, "")
	}
	// If redaction took the recorded condition, only its kind can be compared.
	lost := was.GetKind() == now.GetKind() && was.GetCondition() == nil
	if f.before = was.GetKind().String(); !lost && !samePlan(was, now) {
		p.differs(r, f, "")
	}
	return "", nil
}

// samePlan reports whether two filters are equal but for the order within and, or.
func samePlan(a, b *enginev1.PlanResourcesFilter) bool {
	return a.GetKind() == b.GetKind() && proto.Equal(inOrder(a.GetCondition()), inOrder(b.GetCondition()))
}

// inOrder returns a condition whose operands of and, or are sorted.
func inOrder(o *enginev1.PlanResourcesFilter_Expression_Operand) *enginev1.PlanResourcesFilter_Expression_Operand {
	e := o.GetExpression()
	if e == nil {
		return o
	}
	type operand struct {
		bytes []byte
		*enginev1.PlanResourcesFilter_Expression_Operand
	}
	sorted := make([]operand, len(e.GetOperands()))
	for i, x := range e.GetOperands() {
		x = inOrder(x)
		b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(x) // it was just unmarshalled, or planned
		sorted[i] = operand{b, x}
	}
	if op := e.GetOperator(); op == "and" || op == "or" {
		slices.SortFunc(sorted, func(a, b operand) int { return bytes.Compare(a.bytes, b.bytes) })
	}
	out := &enginev1.PlanResourcesFilter_Expression{Operator: e.GetOperator()}
	for _, x := range sorted {
		out.Operands = append(out.Operands, x.PlanResourcesFilter_Expression_Operand)
	}
	return &enginev1.PlanResourcesFilter_Expression_Operand{
		Node: &enginev1.PlanResourcesFilter_Expression_Operand_Expression{Expression: out}}
}

// count adds an occurrence to the flips.
func count(flips map[flipped]*Flip, r *Record, f flipped, by string) {
	x := flips[f]
	if x == nil { // records come newest first
		x = &Flip{Principal: f.principal, ResourceKind: f.kind, ResourceID: f.resource, Action: f.action,
			Before: f.before, After: f.after, Policy: by, Last: r.At, Decision: r.ID}
		flips[f] = x
	}
	x.Times++
	x.First = r.At
}

// allows orders effects and filters by how much they allow.
var allows = map[string]int{
	effectv1.Effect_EFFECT_ALLOW.String():                     2,
	enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED.String(): 2,
	enginev1.PlanResourcesFilter_KIND_CONDITIONAL.String():    1,
	enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED.String():  0,
	effectv1.Effect_EFFECT_DENY.String():                      0,
	effectv1.Effect_EFFECT_NO_MATCH.String():                  0,
	enginev1.PlanResourcesFilter_KIND_UNSPECIFIED.String():    0,
}

// finish sorts the findings into the report.
func (p *replay) finish() Report {
	r := p.report
	r.NewAllows, r.NewDenies, r.ChangedPlans, r.Unreplayable = []Flip{}, []Flip{}, []Flip{}, []UnableView{}
	r.Differences = []Flip{}
	for _, x := range p.differ {
		r.Differences = append(r.Differences, *x)
	}
	for f, x := range p.flips {
		switch before, after := allows[f.before], allows[f.after]; {
		case after > before:
			r.NewAllows = append(r.NewAllows, *x)
		case after < before:
			r.NewDenies = append(r.NewDenies, *x)
		default:
			r.ChangedPlans = append(r.ChangedPlans, *x)
		}
	}
	for _, flips := range [][]Flip{r.NewAllows, r.NewDenies, r.ChangedPlans, r.Differences} {
		slices.SortFunc(flips, func(a, b Flip) int {
			return cmp.Or(strings.Compare(a.Principal, b.Principal), strings.Compare(a.ResourceKind, b.ResourceKind),
				strings.Compare(a.ResourceID, b.ResourceID),
				strings.Compare(a.Action, b.Action), strings.Compare(a.Before, b.Before),
				strings.Compare(a.After, b.After))
		})
	}
	for _, why := range slices.Sorted(maps.Keys(p.unable)) {
		r.Unreplayable = append(r.Unreplayable, UnableView{why, p.unable[why]})
	}
	r.digest = digest(r.NewAllows)
	return r
}

// digest identifies a set of new ALLOWs, regardless of their counts.
func digest(flips []Flip) string {
	if len(flips) == 0 {
		return ""
	}
	h := sha256.New()
	for _, f := range flips {
		fmt.Fprintf(h, "%q %q %q %q %s\n", f.Principal, f.ResourceKind, f.ResourceID, f.Action, f.After)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
