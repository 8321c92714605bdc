package engine

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"sync"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// A goroutine cannot be stopped and the process' memory is everybody's. So a loop asks now and then whether its time is over,
// and a function of CEL that could take much is asked what it will take before it is called. Both hold wherever Cerbos evaluates:
// in checks, in plans, in tests and in explanations.

// Bounds of what the conditions of one question may take, all together.
const (
	maxMade     = 32 << 20   // bytes of values that they make
	maxSteps    = 50_000_000 // see appetite: about as long as a question has
	maxElements = 1 << 20    // of a list that is put together from others
)

// question is the context of one question's evaluation, which ends with its time, and what it has taken so far. One goroutine
// evaluates it.
type question struct {
	*clock.Bounded
	made, steps int64
	over        bool      // it wanted more than there is
	places      []*string // in asked, until done
}

type questionKey struct{}

// ask begins a question, which done ends.
func ask(ctx context.Context) *question {
	return &question{Bounded: clock.Within(ctx, evaluationTime)}
}

func (q *question) done() {
	for _, place := range q.places {
		asked.Delete(place)
	}
	q.End()
}

// Value implements context.Context.
func (q *question) Value(key any) any {
	if key == (questionKey{}) {
		return q
	}
	return q.Bounded.Value(key)
}

// take notes what a call will take, and reports whether the question may have it. Without a question a call has the
// bounds for itself.
func (q *question) take(bytes, steps int64) bool {
	if q == nil {
		return bytes <= maxMade && steps <= maxSteps
	}
	q.made, q.steps = q.made+bytes, q.steps+steps
	q.over = q.over || q.made > maxMade || q.steps > maxSteps
	return !q.over
}

// stopped is why the question has no answer: its time or its share was used up, or whoever asked has gone. It is nil where none
// of this happened.
func (q *question) stopped(asker context.Context, err error) error {
	switch {
	case q.over || errors.Is(err, ErrTooMuch):
		return ErrTooMuch
	case q.Err() != nil && asker.Err() != nil:
		return asker.Err()
	case q.Err() != nil || errors.Is(err, ErrTooSlow):
		return ErrTooSlow
	}
	return nil
}

// questionName is where a bounded call finds the question among an evaluation's variables. No expression can name it.
const questionName = "@question"

// in puts the question among the variables of one evaluation.
func (q *question) in(variables any) {
	if m, ok := variables.(map[string]any); ok {
		m[questionName] = q
	}
}

// asked are the questions whose evaluations are given no context: plans, and the variables of checks. But they are given the
// request, and the place of its principal's roles in memory is nobody else's.
var asked sync.Map // of *string to *question

// own returns the principal with roles in a place of their own, by which the question is found until done. Without
// roles nothing is evaluated about a principal.
func (q *question) own(p *enginev1.Principal) *enginev1.Principal {
	roles := slices.Clone(p.GetRoles())
	if len(roles) == 0 {
		return p
	}
	p = shallow(p)
	p.Roles = roles
	q.places = append(q.places, &roles[0])
	asked.Store(&roles[0], q)
	return p
}

// plan is the input of a plan with a principal of the question's own.
func (q *question) plan(in *enginev1.PlanResourcesInput) *enginev1.PlanResourcesInput {
	in = shallow(in)
	in.Principal = q.own(in.Principal)
	return in
}

// check is the inputs of a check with principals of the question's own.
func (q *question) check(in []*enginev1.CheckInput) []*enginev1.CheckInput {
	out := make([]*enginev1.CheckInput, len(in))
	for i, input := range in {
		out[i] = shallow(input)
		if i > 0 && input.GetPrincipal() == in[i-1].GetPrincipal() { // of a batch it is the same
			out[i].Principal = out[i-1].Principal
		} else {
			out[i].Principal = q.own(input.GetPrincipal())
		}
	}
	return out
}

// shallow is another message with the same fields.
func shallow[M proto.Message](m M) M {
	out := m.ProtoReflect().New()
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		out.Set(field, v)
		return true
	})
	return out.Interface().(M)
}

func questionOf(frame *interpreter.ExecutionFrame) *question {
	if v, ok := frame.ResolveName(questionName); ok {
		q, _ := v.(*question)
		return q
	}
	request, _ := frame.ResolveName("request")
	return questionAbout(request)
}

// questionAbout is the question of a request that was given away without it; nil, where it is none of those.
func questionAbout(request any) *question {
	r, _ := request.(*enginev1.Request)
	if roles := r.GetPrincipal().GetRoles(); len(roles) > 0 {
		if q, ok := asked.Load(&roles[0]); ok {
			return q.(*question)
		}
	}
	return nil
}

// Every program of the environment, Cerbos' own too, is one that can be interrupted and has bounded calls.
func init() {
	bounded, err := celEnvironment.Extend(cel.Lib(limits{}))
	if err != nil {
		panic("policy: " + err.Error())
	}
	celEnvironment = bounded
	all := bounded.Functions()
	for name := range appetites {
		bindings, err := all[name].Bindings()
		if err != nil || len(bindings) == 0 {
			panic("policy: a function of CEL that must be bounded is not there: " + name)
		}
		for _, b := range bindings {
			implementations[b.Operator] = b
		}
	}
}

type limits struct{}

// CompileOptions implements cel.Library.
func (limits) CompileOptions() []cel.EnvOption { return nil }

// ProgramOptions implements cel.Library.
func (limits) ProgramOptions() []cel.ProgramOption {
	return []cel.ProgramOption{cel.InterruptCheckFrequency(interruptEvery), cel.CustomDecoratorV2(boundCall)}
}

// implementations are those of the functions that have an appetite, by name and by overload.
var implementations = map[string]*functions.Overload{}

// boundCall puts a bounded call in place of one that has an appetite.
func boundCall(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok {
		return i, nil
	}
	wants := appetites[call.Function()]
	if wants == nil {
		return i, nil
	}
	impl := implementations[call.OverloadID()]
	if impl == nil {
		impl = implementations[call.Function()]
	}
	bounded := &boundedCall{InterpretableCall: call, args: call.Args(), wants: wants, impl: impl}
	if call.Function() == overloads.Matches {
		return matchCall(bounded)
	}
	return bounded, nil
}

// matchCall is a bounded match. Of one by a constant expression cel-go would make a call of its own; so it does not see that
// this is one, and the expression is compiled here.
func matchCall(c *boundedCall) (interpreter.InterpretableV2, error) {
	if pattern, ok := c.args[1].(interpreter.InterpretableConst); ok && pattern.Value().Type() == types.StringType {
		re, err := regexp.Compile(text(pattern.Value()))
		if err != nil {
			return nil, err
		}
		size := instructions(re.String())
		c.wants = func(a []ref.Val) (int64, int64) { return 0, searching(a[0], size) }
		impl := *c.impl
		impl.Binary = func(of, by ref.Val) ref.Val {
			if s, ok := of.(types.String); ok {
				return types.Bool(re.MatchString(string(s)))
			}
			return c.impl.Binary(of, by)
		}
		return opaque{&boundedCall{c.InterpretableCall, c.args, c.wants, &impl}}, nil
	}
	return opaque{c}, nil
}

// opaque is a node of which nobody knows what it is.
type opaque struct{ node interpreter.InterpretableV2 }

func (o opaque) ID() int64 { return o.node.ID() }
func (o opaque) Eval(vars interpreter.Activation) ref.Val {
	return o.node.Exec(interpreter.AsFrame(vars))
}
func (o opaque) Exec(frame *interpreter.ExecutionFrame) ref.Val { return o.node.Exec(frame) }

// boundedCall is a call that is not made when it would take more than its question may have: the evaluation ends, and
// with it the question, without an answer.
type boundedCall struct {
	interpreter.InterpretableCall
	args  []interpreter.InterpretableV2
	wants appetite
	impl  *functions.Overload
}

// Eval implements interpreter.Interpretable.
func (c *boundedCall) Eval(vars interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(vars))
}

// Exec implements interpreter.InterpretableV2. What it does with errors and unknowns is what cel-go's own calls do.
func (c *boundedCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	args := make([]ref.Val, len(c.args))
	var unknown *types.Unknown
	known := true
	for i, arg := range c.args {
		args[i] = arg.Exec(frame)
		if types.IsError(args[i]) {
			if !c.impl.NonStrict {
				return args[i]
			}
			known = false
		}
		unknown, _ = types.MaybeMergeUnknowns(args[i], unknown)
	}
	if unknown != nil {
		if !c.impl.NonStrict {
			return unknown
		}
		known = false
	}
	if known {
		if bytes, steps := c.wants(args); bytes+steps > 0 && !questionOf(frame).take(bytes, steps) {
			panic(interpreter.EvalCancelledError{Message: ErrTooMuch.Error(), Cause: interpreter.CostLimitExceeded})
		}
	}
	if trait := c.impl.OperandTrait; trait == 0 || c.impl.NonStrict && types.IsUnknownOrError(args[0]) || args[0].Type().HasTrait(trait) {
		switch {
		case len(args) == 1 && c.impl.Unary != nil:
			return types.LabelErrNode(c.ID(), c.impl.Unary(args[0]))
		case len(args) == 2 && c.impl.Binary != nil:
			return types.LabelErrNode(c.ID(), c.impl.Binary(args[0], args[1]))
		case c.impl.Function != nil:
			return types.LabelErrNode(c.ID(), c.impl.Function(args...))
		}
	}
	if args[0].Type().HasTrait(traits.ReceiverType) {
		return types.LabelErrNode(c.ID(), args[0].(traits.Receiver).Receive(c.Function(), c.OverloadID(), args[1:]))
	}
	return types.NewErrWithNodeID(c.ID(), "no such overload: %s", c.Function())
}
