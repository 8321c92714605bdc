package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var background = context.Background()

// album is a policy that allows action to users.
func album(action string) []byte {
	return []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: album
  version: default
  rules:
    - actions: ["` + action + `"]
      effect: EFFECT_ALLOW
      roles: [user]
`)
}

// albumSuite is a test suite that expects a user to be allowed action.
func albumSuite(action string) []byte {
	return []byte(`name: albums
principals:
  ann: {id: ann, roles: [user]}
resources:
  one: {id: one, kind: album}
tests:
  - name: a user may
    input: {principals: [ann], resources: [one], actions: ["` + action + `"]}
    expected:
      - {principal: ann, resource: one, actions: {"` + action + `": EFFECT_ALLOW}}
`)
}

func put(t *testing.T, d *testkit.Database, c caller.Caller, path string, content []byte) WrittenView {
	t.Helper()
	w, err := change(background, d.DB, api.Request{Caller: c}, "", func(tx *db.Tx, seen id.ID) (Draft, error) {
		return putFile(background, tx, seen, path, content)
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func publishNow(d *testkit.Database, c caller.Caller, reason string) (RevisionView, error) {
	in := &publishInput{}
	in.Body.Reason = reason
	return Deps{}.publishDraft(background, d.DB, api.Request{Caller: c}, in)
}

func importFiles(d *testkit.Database, c caller.Caller, files compiler.Files, reason string) (ImportView, error) {
	return Deps{}.importArchive(background, d.DB, api.Request{Caller: c, Rights: role.Everything()},
		&importInput{Publish: reason != "", Reason: reason, RawBody: Pack(files, TarGz)})
}

func rollbackTo(d *testkit.Database, c caller.Caller, number int64) (Revision, error) {
	return db.Write(background, d.DB, c, func(tx *db.Tx) (Revision, error) {
		return rollback(background, tx, number, "it was better")
	})
}

func numbers(t *testing.T, d *testkit.Database, c caller.Caller) []int64 {
	t.Helper()
	var out []int64
	err := d.View(background, c, func(tx *db.Tx) error {
		list, err := listRevisions(background, tx, 0, 100)
		for _, r := range list {
			out = append(out, r.Number)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func draftOf(t *testing.T, d *testkit.Database, c caller.Caller) state {
	t.Helper()
	s, err := readState(background, d.DB, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func events(t *testing.T, d *testkit.Database, c caller.Caller) []string {
	t.Helper()
	out, err := db.Read(background, d.DB, c, func(tx *db.Tx) ([]string, error) {
		return db.List(background, tx, func(r db.Row) (string, error) {
			var s string
			err := r.Scan(&s)
			return s, err
		}, `SELECT action FROM audit_events WHERE tenant_id = $1 ORDER BY at, id`)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheLifeOfAPolicy(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		if _, err := publishNow(d, acme, "first"); !errors.Is(err, errNothingToPublish) {
			t.Errorf("publishing nothing: %v", err)
		}
		v1 := put(t, d, acme, "album.yaml", album("view"))
		put(t, d, acme, "tests/album_test.yaml", albumSuite("view"))
		if s := draftOf(t, d, acme); !s.draft.Changed() || s.draft.Base != 0 || len(s.files) != 2 ||
			s.draft.Version.String() == v1.Version {
			t.Errorf("draft %+v of %d files", s.draft, len(s.files))
		}
		r, err := publishNow(d, acme, "  first ")
		if err != nil || r.Revision != 1 || r.Reason != "first" || r.Files != 2 || len(r.Digest) != 64 {
			t.Fatalf("published %+v: %v", r, err)
		}
		// The draft is the revision in force again, and is copied by the next change.
		if s := draftOf(t, d, acme); s.draft.Changed() || s.draft.Base != 1 || !bytes.Equal(s.files["album.yaml"],
			album("view")) {
			t.Errorf("draft after publishing: %+v", s.draft)
		}
		put(t, d, acme, "album.yaml", album("edit"))
		if s := draftOf(t, d, acme); s.draft.Base != 1 || len(s.files) != 2 {
			t.Errorf("the next draft: %+v of %d files", s.draft, len(s.files))
		}
		// The suite of revision 1 no longer passes.
		_, err = publishNow(d, acme, "second")
		f := fault.As(err)
		if !errors.Is(err, ErrInvalid) || len(f.Fields) != 1 || f.Fields[0].Name != "tests/album_test.yaml" ||
			!f.Fields[0].File {
			t.Errorf("a failing suite was published: %v", err)
		}
		put(t, d, acme, "tests/album_test.yaml", albumSuite("edit"))
		if r, err = publishNow(d, acme, "second"); err != nil || r.Revision != 2 {
			t.Fatalf("published %+v: %v", r, err)
		}
		// Broken YAML is named with line and column; the draft may have it, a revision may not.
		put(t, d, acme, "album.yaml", []byte("apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: album\n  "+
			"version: default\n  rulez: []\n"))
		_, err = publishNow(d, acme, "third")
		if f = fault.As(err); !errors.Is(err, ErrInvalid) || len(f.Fields) == 0 ||
			f.Fields[0].Name != "album.yaml" || f.Fields[0].Line != 5 {
			t.Errorf("a broken policy was published: %v %+v", err, f.Fields)
		}
		if r, err := rollbackTo(d, acme, 1); err != nil || r.Number != 3 || r.Origin != 1 {
			t.Errorf("rollback: %+v %v", r, err)
		}
		if _, err := rollbackTo(d, acme, 3); fault.Of(err) != fault.Conflict {
			t.Errorf("rollback to what is in force: %v", err)
		}
		for _, n := range []int64{4, 1 << 60} {
			if _, err := rollbackTo(d, acme, n); !errors.Is(err, errRevisionNotFound) {
				t.Errorf("rollback to %d: %v", n, err)
			}
		}
		// The draft stayed, and now follows another revision than it was begun from.
		put(t, d, acme, "album.yaml", album("edit"))
		if _, err := publishNow(d, acme, "over it"); fault.As(err).Code != "policy.draft_behind" {
			t.Errorf("a draft undid a rollback in silence: %v", err)
		}
		in := &publishInput{}
		in.Body.Reason, in.Body.Base = "over it", 3
		if r, err := (Deps{}).publishDraft(background, d.DB, api.Request{Caller: acme}, in); err != nil ||
			r.Revision != 4 {
			t.Errorf("published over a rollback on purpose: %+v %v", r, err)
		}
		if diff := cmp.Diff([]int64{4, 3, 2, 1}, numbers(t, d, acme)); diff != "" {
			t.Error(diff)
		}
		err = d.View(background, acme, func(tx *db.Tx) error {
			one, err := RevisionFiles(background, tx, 1)
			three, err2 := RevisionFiles(background, tx, 3)
			if diff := cmp.Diff(one, three); diff != "" || !bytes.Equal(one["album.yaml"], album("view")) {
				t.Errorf("revision 3 is not revision 1: %s", diff)
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			t.Error(err)
		}
		if p, err := (Store{d.DB}).Published(background, acme); err != nil || p.Revision != 4 || len(p.Table) == 0 {
			t.Errorf("in force: %d %v", p.Revision, err)
		}
		want := []string{"policy.update", "policy.update", "policy.publish", "policy.update", "policy.update",
			"policy.publish", "policy.update", "policy.rollback", "policy.update", "policy.publish"}
		slices.Sort(want) // they all happened in the same instant
		if diff := cmp.Diff(want, slices.Sorted(slices.Values(events(t, d, acme)))); diff != "" {
			t.Error(diff)
		}
		// Another tenant has its own numbers and nothing of this one's.
		if _, err := rollbackTo(d, globex, 1); !errors.Is(err, errRevisionNotFound) {
			t.Errorf("another tenant's revision: %v", err)
		}
		if v, err := importFiles(d, globex, compiler.Files{"a.yaml": album("view")}, "theirs"); err != nil ||
			v.Revision != 1 {
			t.Errorf("another tenant's first revision: %+v %v", v, err)
		}
		if p, err := (Store{d.DB}).Published(background, d.Tenant(t, "empty")); err != nil || p.Revision != 0 ||
			p.Table != nil || p.Settings.DefaultVersion != "default" {
			t.Errorf("nothing published: %+v %v", p, err)
		}
	})
}

func TestADraftIsChangedFileByFile(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		w := put(t, d, acme, "a/Album.yaml", album("view"))
		try := func(ifMatch, path string, content []byte) error {
			pre, err := api.ReadPreconditions(http.Header{"If-Match": {ifMatch}})
			if err != nil {
				return err
			}
			req := api.Request{Caller: acme, Preconditions: pre}
			_, err = change(background, d.DB, req, path, func(tx *db.Tx, seen id.ID) (Draft, error) {
				if content == nil {
					return deleteFile(background, tx, seen, path)
				}
				return putFile(background, tx, seen, path, content)
			})
			return err
		}
		for name, c := range map[string]struct {
			ifMatch, path string
			content       []byte
			code          string
		}{
			"another case":       {"", "a/album.yaml", album("view"), "policy.file_case"},
			"an old version":     {id.New().String(), "a/Album.yaml", album("edit"), "request.precondition_failed"},
			"no version":         {"x", "a/Album.yaml", album("edit"), "request.precondition_failed"},
			"no such file":       {"", "b.yaml", nil, "policy.file_not_found"},
			"a path outside":     {"", "../b.yaml", album("edit"), "policy.invalid"},
			"a hidden file":      {"", ".git/config", album("edit"), "policy.invalid"},
			"no text":            {"", "b.yaml", []byte("\xff\xfe"), "policy.invalid"},
			"an old version too": {id.New().String(), "a/Album.yaml", nil, "request.precondition_failed"},
		} {
			if err := try(c.ifMatch, c.path, c.content); fault.As(err).Code != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
		}
		if s := draftOf(t, d, acme); s.draft.Version.String() != w.Version || len(s.files) != 1 {
			t.Errorf("a refusal changed the draft: %+v", s.draft)
		}
		if err := try(`"`+w.Version+`"`, "a/Album.yaml", album("edit")); err != nil {
			t.Error(err)
		}
		if err := try("", "a/Album.yaml", nil); err != nil {
			t.Error(err)
		}
		if err := d.Update(background, acme, func(tx *db.Tx) error { return discard(background, tx) }); err != nil {
			t.Error(err)
		}
		if s := draftOf(t, d, acme); s.draft.Changed() || len(s.files) != 0 {
			t.Errorf("the draft was not discarded: %+v", s)
		}
	})
}

func TestADraftHasLimits(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		large := bytes.Repeat([]byte("# x\n"), compiler.MaxFile/4)
		files := compiler.Files{}
		for i := range compiler.MaxTotal / compiler.MaxFile {
			files[fmt.Sprintf("%d.yaml", i)] = large
		}
		if _, err := importFiles(d, acme, files, ""); err != nil {
			t.Fatal(err)
		}
		_, err := change(background, d.DB, api.Request{Caller: acme}, "", func(tx *db.Tx, seen id.ID) (Draft, error) {
			return putFile(background, tx, seen, "one-more.yaml", []byte("#"))
		})
		if fault.As(err).Code != "policy.too_large" {
			t.Errorf("one byte more than all files may have: %v", err)
		}
		files = compiler.Files{}
		for i := range compiler.MaxFiles {
			files[fmt.Sprintf("%d.yaml", i)] = []byte("#")
		}
		if _, err := importFiles(d, acme, files, ""); err != nil {
			t.Fatal(err)
		}
		_, err = change(background, d.DB, api.Request{Caller: acme}, "", func(tx *db.Tx, seen id.ID) (Draft, error) {
			return putFile(background, tx, seen, "one-more.yaml", []byte("#"))
		})
		if fault.As(err).Code != "policy.too_large" {
			t.Errorf("one file more than there may be: %v", err)
		}
		if s := draftOf(t, d, acme); len(s.files) != compiler.MaxFiles {
			t.Errorf("%d files after a refusal", len(s.files))
		}
	})
}

// Sixteen publish the same draft: one revision.
func TestOneOfManyPublishersWins(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		put(t, d, acme, "album.yaml", album("view"))
		won, lost := race(t, d, func(int) error { _, err := publishNow(d, acme, "me"); return err })
		if won != 1 || lost != 15 || !cmp.Equal(numbers(t, d, acme), []int64{1}) {
			t.Errorf("%d published, %d were told of a conflict, revisions %v", won, lost, numbers(t, d, acme))
		}
	})
}

// Sixteen import and publish, or roll back, at once: each that succeeds gets a number of its own,
// without gaps.
func TestNumbersHaveNoGaps(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		if _, err := importFiles(d, acme, compiler.Files{"album.yaml": album("view")}, "first"); err != nil {
			t.Fatal(err)
		}
		if _, err := importFiles(d, acme, compiler.Files{"album.yaml": album("edit")}, "second"); err != nil {
			t.Fatal(err)
		}
		won, lost := race(t, d, func(i int) error {
			if i%2 == 0 {
				_, err := rollbackTo(d, acme, 1)
				return err
			}
			_, err := importFiles(d, acme, compiler.Files{"album.yaml": album(fmt.Sprint("a", i))}, "mine")
			return err
		})
		got := numbers(t, d, acme)
		if won < 1 || won+lost != 16 || len(got) != 2+won || got[0] != int64(2+won) {
			t.Errorf("%d won, %d lost, revisions %v", won, lost, got)
		}
	})
}

// race runs fn sixteen times at once, and counts who succeeded and who got a Conflict fault.
func race(t *testing.T, d *testkit.Database, fn func(i int) error) (int, int) {
	t.Helper()
	won, lost := 0, 0
	var mu sync.Mutex
	d.Race(t, 16, func(i int) {
		err := fn(i)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			won++
		case fault.Of(err) == fault.Conflict:
			lost++
		default:
			t.Error(err)
		}
	})
	return won, lost
}

// A draft that is changed while it is being checked is not published: neither what was checked
// nor what it has become.
func TestWhatIsPublishedIsWhatWasChecked(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		put(t, d, acme, "album.yaml", album("view"))
		s := draftOf(t, d, acme)
		ready, err := prepare(background, publishing{Version: s.draft.Version, Files: s.files, Reason: "checked",
			Settings: s.settings})
		if err != nil {
			t.Fatal(err)
		}
		put(t, d, acme, "album.yaml", album("edit"))
		err = d.Update(background, acme, func(tx *db.Tx) error { _, err := publish(background, tx, ready); return err })
		if !errors.Is(err, errDraftMoved) || len(numbers(t, d, acme)) != 0 {
			t.Errorf("published what is not the draft any more: %v, revisions %v", err, numbers(t, d, acme))
		}
		if s := draftOf(t, d, acme); !bytes.Equal(s.files["album.yaml"], album("edit")) {
			t.Error("the refusal took the draft away")
		}
		// The same for an import that another one overtakes.
		ready.Version = id.ID{}
		if _, err := importFiles(d, acme, compiler.Files{"album.yaml": album("delete")}, "quicker"); err != nil {
			t.Fatal(err)
		}
		err = d.Update(background, acme, func(tx *db.Tx) error { _, err := publish(background, tx, ready); return err })
		if !errors.Is(err, errOvertaken) {
			t.Errorf("an import followed a revision that it had not seen: %v", err)
		}
	})
}

func TestTheDatabaseRefusesToChangeARevision(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		if _, err := importFiles(d, acme, compiler.Files{"album.yaml": album("view")}, "first"); err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{
			`UPDATE policy_revisions SET reason = 'another' WHERE tenant_id = $1`,
			`UPDATE policy_revisions SET compiled = sources WHERE tenant_id = $1 AND number = 1`,
			`DELETE FROM policy_revisions WHERE tenant_id = $1`,
		} {
			n, err := db.Write(background, d.DB, acme, func(tx *db.Tx) (int64, error) {
				return tx.Exec(background, sql)
			})
			if err == nil && n > 0 {
				t.Errorf("%s changed %d rows", sql, n)
			}
		}
		if diff := cmp.Diff([]int64{1}, numbers(t, d, acme)); diff != "" {
			t.Error(diff)
		}
	})
}

// An import that does not pass changes nothing, not even the draft.
func TestAnImportIsWholeOrNothing(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		put(t, d, acme, "mine.yaml", album("view"))
		before := draftOf(t, d, acme)
		for name, files := range map[string]compiler.Files{
			"broken":  {"album.yaml": []byte("resourcePolicy: {\n")},
			"failing": {"album.yaml": album("view"), "album_test.yaml": albumSuite("edit")},
		} {
			_, err := importFiles(d, acme, files, "now")
			if f := fault.As(err); !errors.Is(err, ErrInvalid) || len(f.Fields) == 0 ||
				!strings.HasPrefix(f.Fields[0].Name, "album") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if diff := cmp.Diff(before.files, draftOf(t, d, acme).files); diff != "" || len(numbers(t, d, acme)) != 0 {
			t.Errorf("something was changed: %s", diff)
		}
		if _, err := importFiles(d, acme, compiler.Files{"album.yaml": album("view")}, "now"); err != nil {
			t.Fatal(err)
		}
		if s := draftOf(t, d, acme); s.draft.Changed() {
			t.Error("the import left the draft that it replaced")
		}
		_, err := Deps{}.importArchive(background, d.DB, api.Request{Caller: acme, Rights: role.Set{}},
			&importInput{Publish: true, Reason: "x", RawBody: Pack(compiler.Files{"a.yaml": album("a")}, Zip)})
		if fault.Of(err) != fault.Denied {
			t.Errorf("who may not publish published: %v", err)
		}
	})
}

func TestSettings(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		patch := func(p SettingsChange) (engine.Settings, error) {
			v, err := configured(d, acme, p)
			return v.settings(), err
		}
		reject, globals := engine.SchemaReject, map[string]any{"environment": "staging", "limits": []any{1.0, 2.0}}
		keys := []KeySetView{{ID: "main", URL: "https://id.example.com/jwks"}, {ID: "local", Keys: `{"keys":[]}`}}
		if _, err := patch(SettingsChange{SchemaEnforcement: &reject, Globals: &globals, KeySets: &keys}); err != nil {
			t.Fatal(err)
		}
		strict := true
		s, err := patch(SettingsChange{StrictEvaluation: &strict})
		if err != nil {
			t.Fatal(err)
		}
		p, err := (Store{d.DB}).Published(background, acme)
		if diff := cmp.Diff(s, p.Settings); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
		if s.SchemaEnforcement != engine.SchemaReject || !s.StrictEvaluation || s.KeySets[0].Refresh.Hours() != 1 ||
			s.DefaultVersion != "default" || !cmp.Equal(s.Globals, globals) {
			t.Errorf("settings %+v", s)
		}
		none, scope, odd := "sometimes", "a..b", map[string]any{"not a name": 1}
		private := []KeySetView{{ID: "a", Keys: "-----BEGIN PRIVATE KEY-----", PEM: true}, {ID: "a",
			URL: "http://example.com"}, {ID: "b"}}
		_, err = patch(SettingsChange{SchemaEnforcement: &none, DefaultScope: &scope, Globals: &odd, KeySets: &private})
		var names []string
		for _, f := range fault.As(err).Fields {
			names = append(names, f.Name)
		}
		if diff := cmp.Diff([]string{"default_scope", "schema_enforcement", "globals", "key_sets[0].keys",
			"key_sets[1].id", "key_sets[1].url", "key_sets[2].url"}, names); diff != "" {
			t.Error(diff)
		}
	})
}
