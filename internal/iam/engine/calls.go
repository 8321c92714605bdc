package engine

import (
	"fmt"
	"regexp"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// bounds is a CEL library that makes every program interruptible and bounds its costly calls.
type bounds struct {
	implementations map[string]*functions.Overload // of costly functions, by name and by overload
}

// newBounds returns the bounds of an environment. It fails if a function in callCosts is missing
// there.
func newBounds(env *cel.Env) (bounds, error) {
	b := bounds{map[string]*functions.Overload{}}
	all := env.Functions()
	for name := range callCosts {
		declared := all[name]
		if declared == nil {
			return bounds{}, fmt.Errorf("CEL no longer has the function %s", name)
		}
		bindings, err := declared.Bindings()
		if err != nil || len(bindings) == 0 {
			return bounds{}, fmt.Errorf("CEL's function %s has no implementation: %w", name, err)
		}
		for _, o := range bindings {
			b.implementations[o.Operator] = o
		}
	}
	return b, nil
}

// CompileOptions implements cel.Library.
func (bounds) CompileOptions() []cel.EnvOption { return nil }

// ProgramOptions implements cel.Library.
func (b bounds) ProgramOptions() []cel.ProgramOption {
	return []cel.ProgramOption{cel.InterruptCheckFrequency(interruptEvery), cel.CustomDecoratorV2(b.call)}
}

// flat are the messages that an expression may create. Others copy what they are made of, to any
// depth. A value may refer to another one many times, so a copy of 25 lists fills the memory.
var flat = map[string]bool{"google.protobuf.Timestamp": true, "google.protobuf.Duration": true,
	"google.protobuf.BoolValue": true, "google.protobuf.BytesValue": true, "google.protobuf.DoubleValue": true,
	"google.protobuf.FloatValue": true, "google.protobuf.Int32Value": true, "google.protobuf.Int64Value": true,
	"google.protobuf.StringValue": true, "google.protobuf.UInt32Value": true, "google.protobuf.UInt64Value": true}

// refusedMessage is a message that no expression may create. Its evaluation fails.
type refusedMessage struct {
	interpreter.InterpretableConstructor
}

// Eval implements interpreter.Interpretable.
func (m refusedMessage) Eval(interpreter.Activation) ref.Val { return m.Exec(nil) }

// Exec implements interpreter.InterpretableV2.
func (m refusedMessage) Exec(*interpreter.ExecutionFrame) ref.Val {
	return types.NewErr("an expression cannot create a %s", m.Type().TypeName())
}

// call replaces a call of a costly function with a bounded one. It refuses to create messages that
// are not flat.
func (b bounds) call(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	if made, ok := i.(interpreter.InterpretableConstructor); ok && made.Type() != types.ListType &&
		made.Type() != types.MapType && !flat[made.Type().TypeName()] {
		return refusedMessage{made}, nil
	}
	call, ok := i.(interpreter.InterpretableCall)
	if !ok {
		return i, nil
	}
	if compare := comparisons[call.Function()]; compare != nil && len(call.Args()) == 2 {
		return &comparison{call, call.Args()[0], call.Args()[1], compare}, nil
	}
	cost := callCosts[call.Function()]
	if cost == nil {
		return i, nil
	}
	impl := b.implementations[call.OverloadID()]
	if impl == nil {
		impl = b.implementations[call.Function()]
	}
	bounded := &boundedCall{InterpretableCall: call, args: call.Args(), cost: cost, impl: impl}
	if call.Function() == overloads.Matches {
		return matchCall(bounded)
	}
	return bounded, nil
}

// matchCall returns a bounded match. cel-go would replace a match by a constant pattern with a call
// of its own. So it gets a node that it does not recognize, and the pattern is compiled here.
func matchCall(c *boundedCall) (interpreter.InterpretableV2, error) {
	if pattern, ok := c.args[1].(interpreter.InterpretableConst); ok && pattern.Value().Type() == types.StringType &&
		parsing(text(pattern.Value())) <= maxParsing { // otherwise the call is never made
		re, err := regexp.Compile(text(pattern.Value()))
		if err != nil {
			return nil, err
		}
		size := instructions(re.String())
		c.cost = func(a []ref.Val) (int64, int64) { return 0, searching(a[0], size) }
		impl := *c.impl
		impl.Binary = func(of, by ref.Val) ref.Val {
			if s, ok := of.(types.String); ok {
				return types.Bool(re.MatchString(string(s)))
			}
			return c.impl.Binary(of, by)
		}
		return opaque{&boundedCall{c.InterpretableCall, c.args, c.cost, &impl}}, nil
	}
	return opaque{c}, nil
}

// opaque hides from cel-go what kind of node it is.
type opaque struct{ node interpreter.InterpretableV2 }

func (o opaque) ID() int64 { return o.node.ID() }
func (o opaque) Eval(vars interpreter.Activation) ref.Val {
	return o.node.Exec(interpreter.AsFrame(vars))
}
func (o opaque) Exec(frame *interpreter.ExecutionFrame) ref.Val { return o.node.Exec(frame) }

// boundedCall is a call that is costed first. If it would exceed the evaluation's bounds, it is not
// made, and the evaluation ends without an answer.
type boundedCall struct {
	interpreter.InterpretableCall
	args []interpreter.InterpretableV2
	cost callCost
	impl *functions.Overload
}

// Eval implements interpreter.Interpretable.
func (c *boundedCall) Eval(vars interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(vars))
}

// Exec implements interpreter.InterpretableV2. It treats errors and unknowns as cel-go's own calls
// do.
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
		if bytes, steps := c.cost(args); bytes+steps > 0 && !evaluationIn(frame).take(bytes, steps) {
			panic(interpreter.EvalCancelledError{Message: errTooMuch.Error(), Cause: interpreter.CostLimitExceeded})
		}
	}
	if trait := c.impl.OperandTrait; trait == 0 || c.impl.NonStrict && types.IsUnknownOrError(args[0]) ||
		args[0].Type().HasTrait(trait) {
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
