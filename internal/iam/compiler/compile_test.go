package compiler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

func problemsOf(t *testing.T, files Files) Problems {
	t.Helper()
	_, err := Compile(context.Background(), files, engine.DefaultSettings())
	wrong, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("%v, want problems", err)
	}
	return wrong
}

func TestProblemsSayWhere(t *testing.T) {
	lines := func(l ...string) []byte { return []byte(strings.Join(l, "\n") + "\n") }
	for name, c := range map[string]struct {
		files Files
		file  string
		line  int
		says  string
	}{
		"not YAML": {Files{"a.yaml": lines("apiVersion: api.cerbos.dev/v1", "resourcePolicy: [")},
			"a.yaml", 2, ""},
		"no policy": {Files{"a.yaml": lines("just text")}, "a.yaml", 1, ""},
		"unknown field": {Files{"a.yaml": lines("apiVersion: api.cerbos.dev/v1", "resourcePolicy:",
			"  resource: doc", "  version: default", "  colour: red", "  rules: []")}, "a.yaml", 5, "colour"},
		"wrong CEL": {Files{"a.yaml": allowing("doc", "R.attr.x ==")}, "a.yaml", 11,
			"Invalid expression"},
		"no such role": {Files{"a.yaml": []byte(strings.Replace(string(allowing("doc", "true")),
			"roles: [user]", "derivedRoles: [owner]", 1))}, "a.yaml", 8, "owner"},
		"no such import": {Files{"a.yaml": []byte(strings.Replace(string(allowing("doc", "true")),
			"  rules:", "  importDerivedRoles: [common]\n  rules:", 1))}, "a.yaml", 5, "common"},
		"twice": {Files{"a.yaml": allowing("doc", "true"), "b.yaml": allowing("doc", "true")},
			"b.yaml", 1, "a.yaml"},
		"a variable of itself": {Files{"a.yaml": []byte(strings.Replace(string(allowing("doc", "V.a")),
			"  rules:", "  variables: {local: {a: V.b, b: V.a}}\n  rules:", 1))}, "a.yaml", 5, "cycle"},
		"reserved kind": {Files{"x/a.yaml": allowing("gatehouse:user", "true")}, "x/a.yaml", 3, "platform"},
		"no such schema": {Files{"a.yaml": []byte(strings.Replace(string(allowing("doc", "true")),
			"  rules:", "  schemas: {resourceSchema: {ref: 'cerbos:///no.json'}}\n  "+
				"rules:", 1))}, "a.yaml", 0, "no.json"},
		"a file of ours as schema": {Files{"a.yaml": []byte(strings.Replace(string(allowing("doc", "true")),
			"  rules:", "  schemas: {resourceSchema: {ref: 'cerbos:///s.json'}}\n  "+
				"rules:", 1)), "_schemas/s.json": []byte(`{"$ref":"file:///etc/passwd"}`)}, "a.yaml", 5, "s.json"},
		"no parent scope": {Files{"a.yaml": []byte(strings.Replace(string(allowing("doc", "true")),
			"  rules:", "  scope: a.b\n  rules:", 1))}, "", 0, "resource.doc.vdefault"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrong := problemsOf(t, c.files)
			p := wrong[0]
			if p.File != c.file || c.line != 0 && p.Line != c.line || !strings.Contains(wrong.Error(), c.says) ||
				p.Message == "" {
				t.Errorf("%+v, want %s:%d … %s", wrong, c.file, c.line, c.says)
			}
		})
	}
}

// What no answer is made of is not in every replica's memory.
func TestATableKnowsNoFiles(t *testing.T) {
	file := append(allowing("doc", "true"), "metadata:\n  annotations: {ticket: GATE-4711}\n"...)
	table := tableOf(t, Files{"documents/owners.yaml": file})
	for _, origin := range []string{"owners.yaml", "GATE-4711"} {
		if bytes.Contains(table, []byte(origin)) {
			t.Errorf("%s is in the table", origin)
		}
	}
}

func TestAllProblemsAreSaidAtOnce(t *testing.T) {
	wrong := problemsOf(t, Files{"a.yaml": allowing("a", "R.x +"), "b.yaml": allowing("b", "V.no"),
		"c.yaml": allowing("c", "true")})
	files := map[string]bool{}
	for _, p := range wrong {
		files[p.File] = p.Line > 0
	}
	if d := cmp.Diff(map[string]bool{"a.yaml": true, "b.yaml": true}, files); d != "" {
		t.Errorf("%s in %+v", d, wrong)
	}
}

// What would end a process that compiles it ends the sandbox alone, and is a Problem of the files.
func TestHostileFilesHurtNobody(t *testing.T) {
	bomb := "x: &a [1,1,1,1,1,1,1,1,1,1]\n"
	for c := 'b'; c <= 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 10), ","))
	}
	constants := "apiVersion: api.cerbos.dev/v1\nexportConstants:\n  name: c\n  definitions:\n    " +
		strings.ReplaceAll(strings.TrimSpace(bomb), "\n", "\n    ") + "\n"
	for name, files := range map[string]Files{
		"alias bomb":   {"a.yaml": []byte(constants)},
		"deep nesting": {"a.yaml": []byte("apiVersion: " + strings.Repeat("[", 900<<10))},
		"deep lists":   {"a.yaml": []byte(strings.Repeat("- ", 400<<10))},
		"CEL that doubles": {"a.yaml": allowing("doc", "optional.of(1)"+strings.Repeat(".optMap(x, x + 1)",
			60)+".orValue(1) == 2")},
		"long CEL": {"a.yaml": allowing("doc", strings.Repeat("(", 100000))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, p := range problemsOf(t, files) {
				if len(p.Message) > maxMessage+3 {
					t.Errorf("a message of %d bytes", len(p.Message))
				}
				t.Logf("%s:%d: %.100s", p.File, p.Line, p.Message)
			}
		})
	}
	for name, files := range map[string]Files{
		"one large file": {"a.yaml": make([]byte, 10<<20)},
		"not UTF-8":      {"a.yaml": []byte("apiVersion: x\nname: \xff\xfe\n")},
		"NUL":            {"a.yaml": []byte("apiVersion: x\x00\n")},
		"up":             {"../a.yaml": nil},
		"absolute":       {"/etc/passwd": nil},
		"hidden":         {"a/.git/config": nil},
		"backslash":      {`a\b.yaml`: nil},
		"control":        {"a\nb.yaml": nil},
		"both":           {"a": nil, "a/b.yaml": nil},
		"path not UTF-8": {"\xff.yaml": nil},
	} {
		if err := files.Check(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	wrong, _ := errors.AsType[Problems](Files{"a.yaml": []byte("apiVersion: x\nname: \xff\xfe\n")}.Check())
	if d := cmp.Diff(Problems{{"a.yaml", 2, 1, "The file is not text in UTF-8."}}, wrong); d != "" {
		t.Error(d)
	}
	many := Files{}
	for i := range MaxFiles + 1 {
		many[fmt.Sprint(i)] = nil
	}
	if many.Check() == nil || (Files{"a/b/c.yaml": []byte("x"), "README.md": nil}).Check() != nil {
		t.Error("the number of files")
	}
}

func TestASandboxCanBeLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Compile(ctx, Files{"a.yaml": allowing("doc", "true")}, engine.DefaultSettings()); !errors.Is(err,
		context.Canceled) {
		t.Error(err)
	}
}

var suite = []byte(`name: docs
principals:
  ada: {id: ada, roles: [user]}
resources:
  mine: {kind: doc, id: "1", attr: {owner: ada}}
tests:
  - name: looking
    input: {principals: [ada], resources: [mine], actions: [view, edit]}
    expected:
      - {principal: ada, resource: mine, actions: {view: EFFECT_ALLOW, edit: EFFECT_ALLOW}}
  - name: later
    skip: true
    skipReason: not yet
    input: {principals: [ada], resources: [mine], actions: [view]}
    expected:
      - {principal: ada, resource: mine, actions: {view: EFFECT_DENY}}
`)

func TestSuitesCaseByCase(t *testing.T) {
	files := Files{"d.yaml": allowing("doc", "R.attr.owner == P.id"), "d_test.yaml": suite,
		"broken_test.yaml": []byte("name: [")}
	got, err := Test(t.Context(), files, engine.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	if got.Good() || got.Passed != 1 || got.Failed != 1 || got.Skipped != 1 || got.Errored != 1 ||
		len(got.Suites) != 2 {
		t.Fatalf("%+v", got)
	}
	docs := got.Suites[1]
	want := []CaseResult{
		{Name: "looking", Principal: "ada", Resource: "mine", Action: "view", Outcome: OutcomePassed,
			Wanted: "EFFECT_ALLOW", Got: "EFFECT_ALLOW"},
		{Name: "looking", Principal: "ada", Resource: "mine", Action: "edit", Outcome: OutcomeFailed,
			Wanted: "EFFECT_ALLOW", Got: "EFFECT_DENY"},
	}
	if d := cmp.Diff(want, docs.Cases[:2]); d != "" || docs.File != "d_test.yaml" || docs.Outcome != OutcomeFailed {
		t.Errorf("%s\n%+v", d, docs)
	}
	if got.Suites[0].Outcome != OutcomeErrored || got.Suites[0].Error == "" {
		t.Errorf("%+v", got.Suites[0])
	}
	if _, err := Test(t.Context(), Files{"d.yaml": allowing("doc", "R.x +"), "d_test.yaml": suite},
		engine.DefaultSettings()); err == nil {
		t.Error("suites of policies that do not compile")
	}
}

func TestExplainSaysWhatWasSeen(t *testing.T) {
	in := asking("doc", map[string]any{"owner": "bob", "tags": []any{"y"}}, "view", "edit")
	s := engine.DefaultSettings()
	s.Globals = map[string]any{"open": false}
	got, err := Explain(t.Context(), tableOf(t, everything(t)), s, in)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]ActionExplanation{{"view", "EFFECT_DENY", "resource.doc.vdefault", ""},
		{"edit", "EFFECT_DENY", "resource.doc.vdefault", ""}}, got.Actions); d != "" {
		t.Error(d)
	}
	find := func(expression string) Step {
		for _, s := range got.Steps {
			if s.Expression == expression {
				return s
			}
		}
		t.Errorf("no step for %s in %+v", expression, got.Steps)
		return Step{}
	}
	mine := find("R.attr.owner == P.id")
	if d := cmp.Diff([]Value{{Path: "request.resource.attr.owner", Value: "bob"}, {Path: "request.principal.id",
		Value: "ada"}}, mine.Values); d != "" || mine.Result != false {
		t.Errorf("%s\n%+v", d, mine)
	}
	open := find("G.open == true")
	if d := cmp.Diff([]Value{{Path: "globals.open", Value: false}}, open.Values); d != "" || open.Rule != "look" ||
		open.Condition != "all[2].any[1]" {
		t.Errorf("%s\n%+v", d, open)
	}
	if high := find("V.high"); high.Result != true || len(high.Values) != 1 || high.Values[0].Value != true {
		t.Errorf("%+v", high)
	}
	if _, err := Explain(t.Context(), []byte("no table"), s, in); err == nil {
		t.Error("an explanation by what is not a table")
	}
	// Schemas that are not enforced do not deny, and those that are do.
	wrong := asking("doc", map[string]any{"owner": 7, "tags": []any{"x"}}, "view")
	for enforcement, want := range map[string]string{engine.SchemaNone: "EFFECT_ALLOW",
		engine.SchemaWarn: "EFFECT_ALLOW", engine.SchemaReject: "EFFECT_DENY"} {
		s.SchemaEnforcement = enforcement
		got, err := Explain(t.Context(), tableOf(t, everything(t)), s, wrong)
		if err != nil || got.Actions[0].Effect != want {
			t.Errorf("%s: %v %v", enforcement, got.Actions, err)
		}
		ev, err := engine.Load(tableOf(t, everything(t)), s)
		if err != nil {
			t.Fatal(err)
		}
		out, err := ev.Check(t.Context(), []*enginev1.CheckInput{wrong})
		if err != nil || out[0].GetActions()["view"].GetEffect().String() != want {
			t.Errorf("%s: the evaluator says %v %v", enforcement, out, err)
		}
	}
}

func TestASchemaReadsNoFileOfThisMachine(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.json")
	if err := os.WriteFile(secret, []byte(`{"type":"object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Compile(t.Context(), Files{
		"a.yaml": []byte(strings.Replace(string(allowing("doc", "true")), "  rules:",
			"  schemas: {resourceSchema: {ref: 'cerbos:///s.json'}}\n  rules:", 1)),
		"_schemas/s.json": fmt.Appendf(nil, `{"$ref":"file://%s"}`, secret),
	}, engine.DefaultSettings())
	if _, refused := errors.AsType[Problems](err); !refused {
		t.Errorf("%v: a schema read %s", err, secret)
	}
}

// A greedy condition fails its case alone: the bounds of the engine hold in suites and explanations
// too.
func TestSuitesAndExplanationsAreBounded(t *testing.T) {
	more := ".replace('a', '" + strings.Repeat("a", 1000) + "')"
	greedy := Files{"d.yaml": allowing("doc", "P.id"+more+more+more+".size() > 0"), "d_test.yaml": suite} // 2 GB
	results, err := Test(t.Context(), greedy, engine.DefaultSettings())
	if err != nil || len(results.Suites) != 1 {
		t.Errorf("%+v %v", results, err)
	}
	got, err := Explain(t.Context(), tableOf(t, greedy), engine.DefaultSettings(), asking("doc",
		map[string]any{"owner": "bob"}, "view"))
	if err == nil && got.Actions[0].Effect != "EFFECT_DENY" {
		t.Errorf("%+v", got)
	}
	if problems, ok := errors.AsType[Problems](err); ok && strings.Contains(problems.Error(), "compiled") {
		t.Error(err)
	}
}
