package engine

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"time"

	"github.com/google/cel-go/interpreter"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// Nothing stops a goroutine, and all tenants share the process's memory. So loops check at
// intervals whether their time is over, and a CEL function that may be costly is costed before it
// is called. Both hold wherever Cerbos evaluates CEL: in checks, plans, test suites and
// explanations.

// Bounds on the conditions of one check or plan, all resources of a batch together.
const (
	evaluationTime = 2 * time.Second // a check takes some tens of microseconds
	maxMade        = 32 << 20        // bytes of values that they create
	maxSteps       = 50_000_000      // see callCost: as long as evaluationTime, about
	maxElements    = 1 << 20         // of a list that is concatenated from others
)

// evaluation is the context of one check or plan, or of the expressions of one Budget, and the part
// of its bounds that it has used. It ends with its time. One goroutine at a time uses it.
//
// Cerbos passes it as the context of each condition, and of each step of a plan. It evaluates the
// variables of a check without a context. Those find the evaluation among the globals, which a
// check may replace.
type evaluation struct {
	*clock.Bounded
	made, steps       int64
	maxMade, maxSteps int64
	over              bool // it exceeded made or steps

	globals map[string]any // as the tenant set them
	visible any            // globals, in Cerbos' type; nil until a program names them
}

type evaluationKey struct{}

// begin returns an evaluation on behalf of the requester; end it with End.
func begin(requester context.Context) *evaluation {
	return &evaluation{Bounded: clock.Within(requester, evaluationTime), maxMade: maxMade, maxSteps: maxSteps}
}

// Value implements context.Context.
func (e *evaluation) Value(key any) any {
	if key == (evaluationKey{}) {
		return e
	}
	return e.Bounded.Value(key)
}

// evaluationOf returns the evaluation that a context belongs to, or nil.
func evaluationOf(ctx context.Context) *evaluation {
	if ctx == nil {
		return nil
	}
	e, _ := ctx.Value(evaluationKey{}).(*evaluation)
	return e
}

// take counts the cost of a call, and reports whether the evaluation may afford it. Without an
// evaluation each call has the bounds to itself: in test suites and explanations, whose process is
// bounded too.
func (e *evaluation) take(bytes, steps int64) bool {
	if e == nil {
		return bytes <= maxMade && steps <= maxSteps
	}
	if e.over = e.over || e.made+bytes > e.maxMade || e.steps+steps > e.maxSteps; e.over {
		return false // the call is not made
	}
	e.made, e.steps = e.made+bytes, e.steps+steps
	return true
}

// stopped returns why the evaluation has no answer: it exceeded its bounds, or the requester left.
// Otherwise it returns nil.
func (e *evaluation) stopped(requester context.Context, err error) error {
	switch {
	case e.over || errors.Is(err, errTooMuch):
		return errTooMuch
	case e.Err() != nil && requester.Err() != nil:
		return requester.Err()
	case e.Err() != nil || errors.Is(err, errTooSlow):
		return errTooSlow
	}
	return nil
}

// evaluationName is the evaluation's key among variables and globals. No expression can name it.
const evaluationName = "@evaluation"

// withGlobals returns the globals of one check, with the evaluation among them.
func (e *evaluation) withGlobals(globals map[string]any) map[string]any {
	e.globals = globals
	out := make(map[string]any, len(globals)+1)
	maps.Copy(out, globals)
	out[evaluationName] = e
	return out
}

// among returns the evaluation among the globals of a variable's inputs, or nil.
func among(vars map[string]any) *evaluation {
	globals, ok := vars["globals"].(interface {
		Get(name string) (any, error)
	})
	if !ok {
		return nil
	}
	v, _ := globals.Get(evaluationName)
	e, _ := v.(*evaluation)
	return e
}

// hide restores the tenant's globals in the variables of one program. Otherwise a condition could
// list the evaluation, and an output could return it.
func (e *evaluation) hide(vars map[string]any) {
	if e == nil || e.globals == nil {
		return
	}
	if e.visible == nil {
		e.visible = reflect.ValueOf(e.globals).Convert(reflect.TypeOf(vars["globals"])).Interface()
	}
	vars["globals"], vars["G"] = e.visible, e.visible
}

// evaluationIn returns the evaluation that a call belongs to, or nil.
func evaluationIn(frame *interpreter.ExecutionFrame) *evaluation {
	if v, ok := frame.ResolveName(evaluationName); ok {
		e, _ := v.(*evaluation)
		return e
	}
	return evaluationOf(frameContext(frame))
}
