package decision_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// documents is a policy on documents with rules for employees.
func documents(rules ...string) compiler.Files {
	text := "apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: document\n  version: default\n  rules:\n"
	for _, r := range rules {
		action, condition, _ := strings.Cut(r, " if ")
		text += "    - {actions: [" + action + "], effect: EFFECT_ALLOW, roles: [employee]"
		if condition != "" {
			text += fmt.Sprintf(", condition: {match: {expr: %q}}", condition)
		}
		text += "}\n"
	}
	return compiler.Files{"document.yaml": []byte(text)}
}

func evaluator(t testing.TB, files compiler.Files) *engine.Evaluator {
	t.Helper()
	e, err := engine.Load(published(t, files).Table, engine.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// published compiles files as a revision with the default settings.
func published(t testing.TB, files compiler.Files) engine.Published {
	t.Helper()
	compiled, err := compiler.Compile(ctx, files, engine.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	return engine.Published{Revision: 1, Table: compiled.Table, Settings: engine.DefaultSettings()}
}

// rehearsed returns files as a rehearsal has them; nil as nothing published.
func rehearsed(t testing.TB, files compiler.Files) policy.Rehearsed {
	t.Helper()
	if files == nil {
		return policy.Rehearsed{}
	}
	return policy.Rehearsed{Files: files, Settings: engine.DefaultSettings(), Evaluator: evaluator(t, files)}
}

// decided checks the policies and returns the decision as a door builds it.
func decided(t testing.TB, d *testkit.Database, e *engine.Evaluator, principal, action string,
	docs ...string) decision.Decision {
	t.Helper()
	x := asked(t, d, principal, action, effectv1.Effect_EFFECT_UNSPECIFIED, docs...)
	out, err := e.Check(ctx, x.Inputs)
	if err != nil {
		t.Fatal(err)
	}
	x.Outputs = out
	return x
}

// replayed replays a draft beside what is in force; nil for nothing.
func replayed(t testing.TB, d *testkit.Database, c caller.Caller, inForce, draft compiler.Files,
	p decision.Period) decision.Report {
	t.Helper()
	if p.Records == 0 {
		p.Records = 1000
	}
	r, err := decision.Replay(ctx, d.DB, c, policy.Rehearsal{Old: rehearsed(t, inForce), New: rehearsed(t, draft)}, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func flips(fs []decision.Flip) string {
	var out []string
	for _, f := range fs {
		out = append(out, fmt.Sprintf("%s %s %s:%s %dx", f.Principal, f.Action, f.ResourceKind, f.ResourceID, f.Times))
	}
	return strings.Join(out, ", ")
}

func TestReplayShowsWhatADraftWouldFlip(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		before := documents("read", "write if R.attr.owner == P.id")
		now := evaluator(t, before)
		r := recorder(t, d)
		start := d.Clock.Now()
		record := func(c caller.Caller, x decision.Decision) {
			d.Clock.Advance(time.Minute)
			x.ID = id.At(d.Clock.Now())
			r.Record(c, x)
		}
		record(acme, decided(t, d, now, "ada", "read", "d1", "d2")) // would be denied
		record(acme, decided(t, d, now, "ada", "read", "d1"))       // again
		record(acme, decided(t, d, now, "ada", "write", "d1"))      // denied, would be allowed
		record(acme, decided(t, d, now, "zoe", "write", "d1"))      // allowed, and stays so
		record(globex, decided(t, d, now, "ida", "write", "d1"))    // a neighbour's
		refused := asked(t, d, "max", "write", deny, "d1")
		refused.Reason = "deactivated" // no policy was asked
		record(acme, refused)
		reserved := asked(t, d, "ada", "write", deny, "u1")
		reserved.Inputs[0].Resource.Kind = "gatehouse:user"
		record(acme, reserved)
		huge := asked(t, d, "ada", "write", deny, "d9")
		huge.Inputs[0].Resource.Attr["text"] = value(t, strings.Repeat("x", 300<<10))
		record(acme, huge)
		r.Close()

		p := decision.Period{From: start, To: d.Clock.Now().Add(time.Hour)}
		got := replayed(t, d, acme, before, documents("write"), p)
		if a, b := flips(got.NewAllows), flips(got.NewDenies); a != "ada write document:d1 1x" ||
			b != "ada read document:d1 2x, ada read document:d2 1x" {
			t.Errorf("new allows %q, new denies %q", a, b)
		}
		if got.Records != 7 || got.Replayed != 4 || got.Answers != 5 || got.Unaffected != 2 ||
			len(got.Unreplayable) != 1 ||
			got.Unreplayable[0] != (decision.UnableView{Reason: "oversized", Records: 1}) || !got.Complete ||
			got.Stopped != "" {
			t.Errorf("%+v", got)
		}
		if f := got.NewDenies[0]; f.Before != "EFFECT_ALLOW" || f.After != "EFFECT_DENY" ||
			!f.First.Equal(start.Add(time.Minute)) || !f.Last.Equal(start.Add(2*time.Minute)) {
			t.Errorf("%+v", f)
		}
		if same := replayed(t, d, acme, before, before, p); len(same.NewAllows)+len(same.NewDenies) != 0 {
			t.Errorf("the same policies flip %v %v", same.NewAllows, same.NewDenies)
		}

		// In parts: each continues the one before. The two records that no draft changes count in
		// none.
		p.Records = 2
		seen, rounds := 0, 0
		for ; rounds < 10; rounds++ {
			part := replayed(t, d, acme, before, documents("write"), p)
			if seen += part.Records; part.Complete {
				break
			}
			if part.Stopped != "records" {
				t.Errorf("stopped by %q", part.Stopped)
			}
			p.To = part.Until
		}
		if seen != 7 || rounds != 2 {
			t.Errorf("%d records in %d parts", seen, rounds+1)
		}
	})
}

// A redacted record cannot be replayed only if the draft may read the removed value.
func TestReplayCountsWhatRedactionTook(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme := d.Tenant(t, "acme")
	if err := setSettings(d, acme,
		decision.Settings{RetentionDays: 30,
			Redaction: []decision.Rule{{Path: "principal.attr.email", How: decision.Hash}}}); err != nil {
		t.Fatal(err)
	}
	start := d.Clock.Now()
	r := recorder(t, d)
	r.Record(acme, decided(t, d, evaluator(t, documents("read")), "ada", "read", "d1"))
	r.Close()
	p := decision.Period{From: start, To: start.Add(time.Hour)}
	suite := compiler.Files{"document_test.yaml": []byte("# email \\")}
	for condition, want := range map[string]string{
		"R.attr.owner == P.id":               "",
		"P.attr.team.name == 'red'":          "",
		"P.attr.email == 'ada@acme.example'": "redacted",
		"P.attr['email'] == ''":              "redacted",
		"P.attr[R.attr.owner] == ''":         "redacted",
		"P.attr == R.attr":                   "redacted",
		"size(P.attr) > 1":                   "redacted",
		`P.attr.team.name == "\u0072ed"`:     "redacted",
	} {
		files := documents("read if " + condition)
		maps.Copy(files, suite)
		delete(files, "document_test.yaml") // the compiler wants it whole; only its text matters
		e := evaluator(t, files)
		maps.Copy(files, suite)
		got, err := decision.Replay(ctx, d.DB, acme, policy.Rehearsal{New: policy.Rehearsed{Files: files,
			Settings: engine.DefaultSettings(), Evaluator: e}}, decision.Period{From: p.From, To: p.To, Records: 10})
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && (got.Replayed != 1 || len(got.Unreplayable) != 0) || want != "" &&
			(got.Replayed != 0 || len(got.Unreplayable) != 1 ||
				got.Unreplayable[0].Reason != "redacted: principal.attr.email") {
			t.Errorf("%s: %+v", condition, got)
		}
	}
}

func TestReplayComparesPlans(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme := d.Tenant(t, "acme")
	start := d.Clock.Now()
	r := recorder(t, d)
	plan := func(e *engine.Evaluator, principal string) {
		x := decision.Decision{ID: id.At(d.Clock.Now()), Kind: decision.Plan,
			PlanInput: &enginev1.PlanResourcesInput{Actions: []string{"read"},
				Principal: asked(t, d, principal, "read", deny, "d1").Inputs[0].Principal,
				Resource:  &enginev1.PlanResourcesInput_Resource{Kind: "document"}}}
		out, err := e.Plan(ctx, x.PlanInput)
		if err != nil {
			t.Fatal(err)
		}
		x.PlanOutput = out
		r.Record(acme, x)
	}
	plan(evaluator(t, documents("write")), "none")
	plan(evaluator(t, documents("read if R.attr.owner == P.id")), "own")
	plan(evaluator(t, documents("read if R.attr.public == true")), "public")
	r.Close()
	const all = "none read document: 1x, own read document: 1x, public read document: 1x"
	for inForce, want := range map[string][3]string{
		"write":                          {all, "", ""},
		"read if R.attr.public == true":  {"", "", all},
		"read":                           {"", all, ""},
		"read if  R.attr.owner == P.id ": {"", "", ""},
	} {
		got := replayed(t, d, acme, documents(inForce), documents("read if R.attr.owner == P.id"),
			decision.Period{From: start, To: start.Add(time.Hour)})
		if found := [3]string{flips(got.NewAllows), flips(got.NewDenies), flips(got.ChangedPlans)}; found != want {
			t.Errorf("%s: %q", inForce, found)
		}
		if d := flips(got.Differences); d != "none read document: 1x, public read document: 1x" || got.Differ != 2 {
			t.Errorf("differ from the record: %s", d)
		}
	}
}

// A draft cannot change answers that no policies of the tenant gave.
func TestReplayPassesOverWhatNoDraftChanges(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		start := d.Clock.Now()
		r := recorder(t, d)
		for _, kind := range []decision.Kind{decision.SignIn, decision.Admin} {
			x := asked(t, d, "ada", "write", deny, "d1")
			x.Kind = kind
			r.Record(acme, x)
		}
		plan := decision.Decision{ID: id.At(start), Kind: decision.Plan,
			PlanInput: &enginev1.PlanResourcesInput{Actions: []string{"write"},
				Principal: asked(t, d, "ada", "write", deny, "d1").Inputs[0].Principal,
				Resource:  &enginev1.PlanResourcesInput_Resource{Kind: "gatehouse:user"}},
			PlanOutput: &enginev1.PlanResourcesOutput{
				Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED}}}
		r.Record(acme, plan)
		refused := plan
		refused.ID, refused.Reason = id.At(start), "principal.locked"
		refused.PlanInput = &enginev1.PlanResourcesInput{Actions: []string{"write"},
			Principal: plan.PlanInput.Principal, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "document"}}
		refused.PlanOutput = &enginev1.PlanResourcesOutput{
			Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED}}
		r.Record(acme, refused)
		// One of two principals was refused. The record does not say which.
		both := asked(t, d, "ada", "write", deny, "d1", "d2")
		both.Inputs[1].Principal = &enginev1.Principal{Id: "eve", Roles: []string{"employee"}}
		both.Reason = "principal.unknown"
		r.Record(acme, both)
		r.Close()
		got := replayed(t, d, acme, nil, documents("write"), decision.Period{From: start, To: start.Add(time.Hour)})
		if len(got.NewAllows)+len(got.NewDenies)+len(got.ChangedPlans) != 0 || got.Records != 5 ||
			got.Unaffected != 4 || got.Replayed != 0 ||
			len(got.Unreplayable) != 1 ||
			got.Unreplayable[0] != (decision.UnableView{Reason: "some of several principals were refused",
				Records: 1}) {
			t.Errorf("%+v", got)
		}
	})
}

// A replay with a small limit reaches the tenant's own records behind many management calls and
// sign-ins.
func TestALimitCountsWhatADraftCanChange(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		start := d.Clock.Now()
		r := recorder(t, d)
		record := func(kind decision.Kind, who string) {
			d.Clock.Advance(time.Second)
			x := asked(t, d, who, "write", deny, "d1")
			x.Kind = kind
			r.Record(acme, x)
		}
		for _, who := range []string{"ada", "bob", "eve"} {
			record(decision.Check, who)
		}
		const others = 250 // more than one statement reads
		for i := range others {
			record([]decision.Kind{decision.Admin, decision.SignIn}[i%2], "olga")
		}
		r.Close()
		p := decision.Period{From: start, To: start.Add(time.Hour), Records: 2}
		got := replayed(t, d, acme, nil, documents("write"), p)
		if a := flips(got.NewAllows); a != "bob write document:d1 1x, eve write document:d1 1x" || got.Replayed != 2 ||
			got.Unaffected != others || got.Records != others+2 || got.Stopped != "records" || got.Complete {
			t.Errorf("%q, %+v", a, got)
		}
		p.To = got.Until
		got = replayed(t, d, acme, nil, documents("write"), p)
		if flips(got.NewAllows) != "ada write document:d1 1x" ||
			got.Records != 1 || !got.Complete {
			t.Errorf("the rest: %+v", got)
		}
	})
}

// A flip is one principal, resource and action, however often it occurred.
func TestFlipsAreOfAPrincipalAResourceAndAnAction(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		start := d.Clock.Now()
		r := recorder(t, d)
		for _, c := range []struct{ who, kind, doc, action string }{
			{"ada", "document", "d1", "read"}, {"bob", "document", "d1", "read"}, {"ada", "folder", "d1", "read"},
			{"ada", "document", "d2", "read"}, {"ada", "document", "d1", "write"}, {"ada", "document", "d1", "read"},
		} {
			x := asked(t, d, c.who, c.action, deny, c.doc)
			x.Inputs[0].Resource.Kind = c.kind
			r.Record(acme, x)
		}
		r.Close()
		files := documents("read", "write")
		files["folder.yaml"] = []byte(strings.Replace(string(files["document.yaml"]), "resource: document",
			"resource: folder", 1))
		got := replayed(t, d, acme, nil, files, decision.Period{From: start, To: start.Add(time.Hour)})
		const want = "ada read document:d1 2x, ada write document:d1 1x, ada read document:d2 1x, ada read " +
			"folder:d1 1x, bob read document:d1 1x"
		if s := flips(got.NewAllows); s != want || len(got.NewDenies)+len(got.ChangedPlans) != 0 {
			t.Errorf("%s\nwant %s", s, want)
		}
	})
}

// Records of one moment are in one part: the next part starts before that moment.
func TestPartsOfAReplayPassOverNothing(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		start := d.Clock.Now()
		r := recorder(t, d)
		for i := range 7 {
			if i == 1 || i == 4 {
				d.Clock.Advance(time.Microsecond)
			}
			r.Record(acme, asked(t, d, fmt.Sprint("p", i), "write", deny, "d1"))
		}
		r.Close()
		seen := map[string]int{}
		p := decision.Period{From: start, To: start.Add(time.Hour), Records: 2}
		complete := false
		for range 7 {
			part := replayed(t, d, acme, nil, documents("write"), p)
			for _, f := range part.NewAllows {
				seen[f.Principal] += f.Times
			}
			if complete = part.Complete; complete {
				break
			}
			p.To = part.Until
		}
		if len(seen) != 7 || !complete {
			t.Errorf("found %v, complete: %v", seen, complete)
		}
		for who, times := range seen {
			if times != 1 {
				t.Errorf("%s was counted %d times", who, times)
			}
		}
	})
}

// A replay of a draft that flips everything stops; its report is bounded and says so.
func TestAReplayIsBoundedInFlips(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme := d.Tenant(t, "acme")
	start := d.Clock.Now()
	r := recorder(t, d)
	for i := range 42 {
		docs := make([]string, 50)
		for j := range docs {
			docs[j] = fmt.Sprintf("d%d-%d", i, j)
		}
		d.Clock.Advance(time.Second)
		r.Record(acme, asked(t, d, "ada", "write", deny, docs...))
	}
	r.Close()
	got := replayed(t, d, acme, nil, documents("write"), decision.Period{From: start, To: start.Add(time.Hour)})
	if len(got.NewAllows) != 2000 || got.Complete || got.Stopped != "flips" || got.Records != 40 ||
		!got.Until.Equal(start.Add(3*time.Second)) {
		t.Errorf("%d flips of %d records until %s, stopped by %q", len(got.NewAllows), got.Records, got.Until,
			got.Stopped)
	}
}

// A record that the draft cannot answer counts as one that cannot be replayed.
func TestADraftThatCannotAnswer(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme := d.Tenant(t, "acme")
	start := d.Clock.Now()
	r := recorder(t, d)
	x := asked(t, d, "ada", "read", allow, "d1")
	numbers := make([]any, 2000)
	for i := range numbers {
		numbers[i] = i
	}
	x.Inputs[0].Resource.Attr["l"] = value(t, numbers)
	r.Record(acme, x)
	r.Close()
	got := replayed(t, d, acme, nil,
		documents("read if R.attr.l.all(a, R.attr.l.all(b, R.attr.l.all(c, a + b + c >= 0.0)))"),
		decision.Period{From: start, To: start.Add(time.Hour)})
	if got.Replayed != 0 || len(got.NewDenies) != 0 || len(got.Unreplayable) != 1 ||
		got.Unreplayable[0].Reason != "the draft cannot answer" || !got.Complete {
		t.Errorf("%+v", got)
	}
}

// A rule for every attribute removes one that the draft may read. So may a schema that rejects.
func TestReplayErrsToTheSafeSide(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	rejecting := engine.DefaultSettings()
	rejecting.SchemaEnforcement = engine.SchemaReject
	schema := documents("read")
	schema["_schemas/principal.json"] = []byte(`{"type": "object"}`)
	for name, c := range map[string]struct {
		path     string
		files    compiler.Files
		settings engine.Settings
		want     string
	}{
		"every attribute": {"principal.attr.*", documents("read"), engine.DefaultSettings(),
			"redacted: principal.attr.*"},
		"one":                   {"principal.attr.email", documents("read"), engine.DefaultSettings(), ""},
		"schemas not enforced":  {"principal.attr.email", schema, engine.DefaultSettings(), ""},
		"schemas that reject":   {"principal.attr.email", schema, rejecting, "redacted: principal.attr.email"},
		"rejecting, no schemas": {"principal.attr.email", documents("read"), rejecting, ""},
		"one below, by its root": {"principal.attr.team.name", documents("read if P.attr.team.lead == ''"),
			engine.DefaultSettings(), "redacted: principal.attr.team.name"},
	} {
		acme := d.Tenant(t, strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ",", ""))
		if err := setSettings(d, acme,
			decision.Settings{RetentionDays: 30,
				Redaction: []decision.Rule{{Path: c.path, How: decision.Hash}}}); err != nil {
			t.Fatal(err)
		}
		r := recorder(t, d)
		r.Record(acme, asked(t, d, "ada", "read", allow, "d1"))
		r.Close()
		got, err := decision.Replay(ctx, d.DB, acme, policy.Rehearsal{New: policy.Rehearsed{Files: c.files,
			Settings: c.settings, Evaluator: evaluator(t, c.files)}}, decision.Period{
			From: d.Clock.Now().Add(-time.Hour), To: d.Clock.Now().Add(time.Hour), Records: 10})
		if err != nil {
			t.Fatal(err)
		}
		if c.want == "" && (got.Replayed != 1 || len(got.Unreplayable) != 0) || c.want != "" &&
			(got.Replayed != 0 || len(got.Unreplayable) != 1 || got.Unreplayable[0].Reason != c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A plan's recorded condition that redaction removed cannot be compared; its kind can. The draft is
// compared with the revision in force all the same.
func TestReplayCountsConditionsThatRedactionTook(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		if err := setSettings(d, acme,
			decision.Settings{RetentionDays: 30,
				Redaction: []decision.Rule{{Path: "principal.attr.email", How: decision.Drop}}}); err != nil {
			t.Fatal(err)
		}
		start := d.Clock.Now()
		r := recorder(t, d)
		x := decision.Decision{ID: id.At(start), Kind: decision.Plan,
			PlanInput: &enginev1.PlanResourcesInput{Actions: []string{"read"},
				Principal: asked(t, d, "ada", "read", deny, "d1").Inputs[0].Principal,
				Resource:  &enginev1.PlanResourcesInput_Resource{Kind: "document"}}}
		out, err := evaluator(t, documents("read if R.attr.owner == P.id")).Plan(ctx, x.PlanInput)
		if err != nil {
			t.Fatal(err)
		}
		x.PlanOutput = out
		r.Record(acme, x)
		r.Close()
		p := decision.Period{From: start, To: start.Add(time.Hour)}
		before := documents("read if R.attr.owner == P.id")
		got := replayed(t, d, acme, before, documents("read if R.attr.public == true"), p)
		if got.Replayed != 1 || len(got.ChangedPlans) != 1 || got.Differ != 0 || len(got.Unreplayable) != 0 {
			t.Errorf("%+v", got)
		}
		if got := replayed(t, d, acme, before, documents("read"), p); len(got.NewAllows) != 1 || got.Differ != 1 {
			t.Errorf("always allowed: %+v", got)
		}
	})
}

// What a revision changed since a record counts apart: a draft that changes nothing flips nothing.
func TestADraftIsComparedWithWhatIsInForce(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme := d.Tenant(t, "acme")
	start := d.Clock.Now()
	r := recorder(t, d)
	r.Record(acme, decided(t, d, evaluator(t, documents("read")), "ada", "write", "d1"))
	r.Close()
	same := documents("read", "write")
	same["document.yaml"] = append([]byte("# the same\n"), same["document.yaml"]...)
	p := decision.Period{From: start, To: start.Add(time.Hour)}
	got := replayed(t, d, acme, documents("read", "write"), same, p)
	if len(got.NewAllows)+len(got.NewDenies) != 0 || got.Differ != 1 || flips(got.Differences) != "ada write "+
		"document:d1 1x" || got.Acknowledge != "" {
		t.Errorf("%+v", got)
	}
	if got := replayed(t, d, acme, documents("read", "write"), documents("read"), p); flips(got.NewDenies) != "ada "+
		"write document:d1 1x" || got.Differ != 0 {
		t.Errorf("%+v", got)
	}
}
