package engine

import (
	"context"
	"reflect"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
)

// Trial changes the settings for one check: a test suite names some of its own, and an explanation
// collects the steps. Zero fields leave the settings as they are.
type Trial struct {
	Now                func() time.Time
	Globals            map[string]any // replaces all of them; nil: unchanged
	DefaultVersion     string
	DefaultScope       string
	LenientScopeSearch bool
	StrictEvaluation   bool
	Trace              func(*enginev1.Trace) // receives each step
}

// Try answers every input as Check does, with the changes of a trial.
func (e *Evaluator) Try(ctx context.Context, in []*enginev1.CheckInput, t Trial) ([]*enginev1.CheckOutput, error) {
	return e.evaluate(ctx, func(running *evaluation) ([]*enginev1.CheckOutput, error) {
		globals := e.globals
		if t.Globals != nil {
			globals = t.Globals
		}
		if e.variables {
			globals = running.withGlobals(globals)
		}
		set := func(o checkOptions) {
			o.set("Globals", globals)
			if t.Now != nil {
				o.set("NowFunc", t.Now)
			}
			if t.DefaultVersion != "" {
				o.set("DefaultPolicyVersion", t.DefaultVersion)
			}
			if t.DefaultScope != "" {
				o.set("DefaultScope", t.DefaultScope)
			}
			if t.LenientScopeSearch {
				o.set("LenientScopeSearch", true)
			}
			if t.StrictEvaluation {
				o.set("StrictEvaluation", true)
			}
			if t.Trace != nil {
				o.trace(t.Trace)
			}
		}
		return e.byVersion(in, first(t.DefaultVersion, e.defaultVersion()),
			func(table tableOfRules, in inputs) (outputs, error) {
				return checkWithOptions(running, table, in, set)
			})
	})
}

// TrialOf returns what a suite's options change, read from Cerbos' *evaluator.CheckOptions. A suite
// cannot set a value back to Cerbos' default: the options do not tell that from an absent one.
func TrialOf(options any) Trial {
	o := checkOptions{reflect.ValueOf(options).Elem()}
	var t Trial
	t.Now, _ = o.get("NowFunc").Convert(reflect.TypeOf(t.Now)).Interface().(func() time.Time)
	if globals, ok := o.get("Globals").Interface().(map[string]any); ok && len(globals) > 0 {
		t.Globals = globals
	}
	if version := o.get("DefaultPolicyVersion").String(); version != DefaultSettings().DefaultVersion {
		t.DefaultVersion = version
	}
	t.DefaultScope = o.get("DefaultScope").String()
	t.LenientScopeSearch = o.get("LenientScopeSearch").Bool()
	t.StrictEvaluation = o.get("StrictEvaluation").Bool()
	return t
}
