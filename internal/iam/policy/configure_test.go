package policy

import (
	"errors"
	"strings"
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

// configured changes the engine's settings through the operation.
func configured(d *testkit.Database, c caller.Caller, p SettingsChange) (SettingsView, error) {
	in := &patchSettingsInput{}
	in.Body.SettingsChange = p
	return Deps{}.configure(background, d.DB, api.Request{Caller: c}, in)
}

// openAlbum is a policy whose answer depends on a global and on strict evaluation.
func openAlbum() compiler.Files {
	return compiler.Files{"album.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: album
  version: default
  rules:
    - {actions: [view], effect: EFFECT_ALLOW, roles: [user]}
    - {actions: [view], effect: EFFECT_DENY, roles: [user], condition: {match: {expr: R.attr.missing == 1}}}
`), "album_test.yaml": albumSuite("view")}
}

// The engine's settings are part of a revision: published, compared, rolled back and tested.
func TestSettingsBelongToARevision(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		yes, scope := true, "eu"
		// The first revision has what was set before it.
		if _, err := configured(d, acme, SettingsChange{DefaultScope: &scope}); err != nil {
			t.Fatal(err)
		}
		if n := numbers(t, d, acme); len(n) != 0 {
			t.Fatalf("settings without policies published %v", n)
		}
		scope = ""
		if _, err := configured(d, acme, SettingsChange{DefaultScope: &scope}); err != nil {
			t.Fatal(err)
		}
		if _, err := importFiles(d, acme, openAlbum(), "first"); err != nil {
			t.Fatal(err)
		}
		// Settings by which a suite in force fails are refused.
		if _, err := configured(d, acme, SettingsChange{StrictEvaluation: &yes}); !errors.Is(err, ErrInvalid) {
			t.Errorf("strict evaluation, by which a suite fails: %v", err)
		}
		put(t, d, acme, "mine.yaml", []byte("# a draft under way\n"))
		globals := map[string]any{"open": true}
		if _, err := configured(d, acme, SettingsChange{Globals: &globals}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int64{2, 1}, numbers(t, d, acme)); diff != "" {
			t.Error(diff)
		}
		if s := draftOf(t, d, acme); s.draft.Base != 2 || !s.settings.Globals["open"].(bool) || len(s.files) != 3 {
			t.Errorf("the draft follows %d with %v", s.draft.Base, s.settings.Globals)
		}
		_, err := configured(d, acme, SettingsChange{Globals: &globals})
		if err != nil || len(numbers(t, d, acme)) != 2 {
			t.Errorf("the same settings published a revision: %v", err)
		}
		diff, err := compare(background, d.DB, acme, func(tx *db.Tx) (int64, Version, error) {
			now, err := versionOf(background, tx, 2)
			return 1, now, err
		})
		if err != nil || len(diff.Files) != 0 || len(diff.Settings) != 1 || diff.Settings[0].Name != "globals" ||
			!strings.Contains(diff.Text(), `+{"open":true}`) {
			t.Errorf("%+v %v", diff, err)
		}
		if r, err := rollbackTo(d, acme, 1); err != nil || r.Number != 3 {
			t.Fatalf("rollback to other settings: %v", err)
		}
		if p, err := (Store{d.DB}).Published(background, acme); err != nil || len(p.Settings.Globals) != 0 ||
			p.Revision != 3 {
			t.Errorf("after the rollback: %+v %v", p.Settings, err)
		}
		if _, err := rollbackTo(d, acme, 1); fault.Of(err) != fault.Conflict {
			t.Errorf("rollback to what is in force: %v", err)
		}
		// What a replica of an earlier release reads.
		row, err := db.Read(background, d.DB, acme, func(tx *db.Tx) (storedSettings, error) {
			return getSettings(background, tx)
		})
		if err != nil || len(row.Globals) != 0 {
			t.Errorf("the row has %+v %v", row.Settings, err)
		}
	})
}

// The draft has settings of its own, which its suites use and its publication puts in force.
func TestADraftChangesSettings(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		if _, err := importFiles(d, acme, openAlbum(), "first"); err != nil {
			t.Fatal(err)
		}
		yes := true
		set := func(p SettingsChange) error {
			req := api.Request{Caller: acme}
			_, err := change(background, d.DB, req, "", func(tx *db.Tx, seen id.ID) (Draft, error) {
				return changeSettings(background, tx, seen, p)
			})
			return err
		}
		if err := set(SettingsChange{StrictEvaluation: &yes}); err != nil {
			t.Fatal(err)
		}
		if p, err := (Store{d.DB}).Published(background, acme); err != nil || p.Settings.StrictEvaluation {
			t.Errorf("a draft is in force: %v", err)
		}
		if _, err := publishNow(d, acme, "strict"); !errors.Is(err, ErrInvalid) {
			t.Errorf("a suite that fails by the draft's settings: %v", err)
		}
		none := "sometimes"
		if err := set(SettingsChange{SchemaEnforcement: &none}); fault.Of(err) != fault.Invalid {
			t.Errorf("wrong settings: %v", err)
		}
		files := openAlbum()
		put(t, d, acme, "album_test.yaml", []byte(strings.Replace(string(files["album_test.yaml"]), "EFFECT_ALLOW",
			"EFFECT_DENY", 1)))
		if r, err := publishNow(d, acme, "strict"); err != nil || r.Revision != 2 {
			t.Fatalf("%+v %v", r, err)
		}
		if p, err := (Store{d.DB}).Published(background, acme); err != nil || !p.Settings.StrictEvaluation {
			t.Errorf("the draft's settings are not in force: %v", err)
		}
	})
}

// A publication that would deny everything needs to be meant.
func TestASetWithoutPoliciesIsRefused(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		disabled := append(album("view"), "disabled: true\n"...)
		for name, files := range map[string]compiler.Files{
			"a README":       {"README.md": []byte("Policies")},
			"another ending": {"album.yaml.old": album("view")},
			"a disabled one": {"album.yaml": disabled},
			"derived roles": {"roles.yaml": []byte("apiVersion: api.cerbos.dev/v1\nderivedRoles:\n  name: r\n" +
				"  definitions: [{name: owner, parentRoles: [user]}]\n")},
			"only test files": {"testdata/x.yaml": []byte("a: b\n")},
		} {
			if _, err := importFiles(d, acme, files, "oops"); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		put(t, d, acme, "README.md", []byte("Policies"))
		in := &publishInput{}
		in.Body.Reason = "oops"
		publishDraft := func() (RevisionView, error) {
			return Deps{}.publishDraft(background, d.DB, api.Request{Caller: acme}, in)
		}
		if _, err := publishDraft(); !errors.Is(err, ErrInvalid) {
			t.Errorf("a draft: %v", err)
		}
		in.Body.AllowEmpty = true
		if r, err := publishDraft(); err != nil || r.Revision != 1 {
			t.Errorf("on purpose: %+v %v", r, err)
		}
		_, err := Deps{}.importArchive(background, d.DB, api.Request{Caller: acme, Rights: role.Everything()},
			&importInput{Publish: true, Reason: "meant", AllowEmpty: true, RawBody: Pack(compiler.Files{
				"album.yaml": disabled}, TarGz)})
		if err != nil {
			t.Errorf("an import on purpose: %v", err)
		}
	})
}

// Publishing what is in force publishes nothing.
func TestTheSameFilesPublishNothing(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		for i := range 3 {
			v, err := importFiles(d, acme, openAlbum(), "again")
			if err != nil || v.Revision != 1 || v.Unchanged != (i > 0) {
				t.Errorf("import %d: %+v %v", i+1, v, err)
			}
		}
		put(t, d, acme, "album.yaml", openAlbum()["album.yaml"])
		if _, err := publishNow(d, acme, "again"); !errors.Is(err, errNothingToPublish) {
			t.Errorf("a draft: %v", err)
		}
		if n := numbers(t, d, acme); len(n) != 1 {
			t.Errorf("revisions %v", n)
		}
	})
}

// A draft with settings of its own does not take back settings that were changed since.
func TestADraftRevertsNoSettings(t *testing.T) {
	warn, globals := "warn", map[string]any{"closed": true}
	own := func(d *testkit.Database, c caller.Caller) error {
		_, err := change(background, d.DB, api.Request{Caller: c}, "", func(tx *db.Tx, seen id.ID) (Draft, error) {
			return changeSettings(background, tx, seen, SettingsChange{SchemaEnforcement: &warn})
		})
		return err
	}
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		if _, err := importFiles(d, acme, openAlbum(), "first"); err != nil {
			t.Fatal(err)
		}
		if err := own(d, acme); err != nil {
			t.Fatal(err)
		}
		if _, err := configured(d, acme, SettingsChange{Globals: &globals}); err != nil {
			t.Fatal(err)
		}
		if _, err := publishNow(d, acme, "mine"); fault.As(err).Code != "policy.draft_behind" {
			t.Errorf("a draft took back the globals in silence: %v", err)
		}
		p, err := (Store{d.DB}).Published(background, acme)
		if err != nil || p.Revision != 2 || p.Settings.Globals["closed"] != true {
			t.Errorf("revision %d is in force with globals %v: %v", p.Revision, p.Settings.Globals, err)
		}
		// After the draft took them over, it is published on purpose.
		_, err = change(background, d.DB, api.Request{Caller: acme}, "", func(tx *db.Tx, seen id.ID) (Draft, error) {
			return changeSettings(background, tx, seen, SettingsChange{Globals: &globals})
		})
		if err != nil {
			t.Fatal(err)
		}
		in := &publishInput{}
		in.Body.Reason, in.Body.Base = "both", 2
		if _, err := (Deps{}).publishDraft(background, d.DB, api.Request{Caller: acme}, in); err != nil {
			t.Fatal(err)
		}
		p, err = (Store{d.DB}).Published(background, acme)
		if err != nil || p.Settings.SchemaEnforcement != warn || p.Settings.Globals["closed"] != true {
			t.Errorf("in force: %+v %v", p.Settings, err)
		}
	})
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme") // without a revision, whose number would tell
		if err := own(d, acme); err != nil {
			t.Fatal(err)
		}
		_, err := configured(d, acme, SettingsChange{Globals: &globals})
		if fault.As(err).Code != "policy.draft_settings" {
			t.Errorf("settings that the draft would take back were accepted: %v", err)
		}
		put(t, d, acme, "album.yaml", album("view"))
		if _, err := publishNow(d, acme, "first"); err != nil {
			t.Fatal(err)
		}
		if _, err := configured(d, acme, SettingsChange{Globals: &globals}); err != nil {
			t.Error(err)
		}
		p, err := (Store{d.DB}).Published(background, acme)
		if err != nil || p.Settings.SchemaEnforcement != warn || p.Settings.Globals["closed"] != true {
			t.Errorf("in force: %+v %v", p.Settings, err)
		}
	})
}

// A revision of an earlier release has no settings. Its rollback keeps those in force.
func TestARollbackWithoutSettingsKeepsThem(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		old, err := prepare(background, publishing{Files: openAlbum(), Settings: engine.DefaultSettings()})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Update(background, acme, func(tx *db.Tx) error {
			_, err := insertRevision(background, tx, Revision{Number: 1, Reason: "old", Author: acme.Actor,
				CreatedAt: tx.Now(), Digest: []byte{1}}, old.compiled.Table, old.sources)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		globals := map[string]any{"closed": true}
		if _, err := configured(d, acme, SettingsChange{Globals: &globals}); err != nil {
			t.Fatal(err)
		}
		r, err := rollbackTo(d, acme, 1)
		if err != nil || r.Number != 3 {
			t.Fatalf("rollback: %+v %v", r, err)
		}
		p, err := (Store{d.DB}).Published(background, acme)
		if err != nil || p.Revision != 3 || p.Settings.Globals["closed"] != true {
			t.Errorf("revision %d is in force with globals %v: %v", p.Revision, p.Settings.Globals, err)
		}
	})
}

// Until the first revision, its publication and a change of the settings may meet. Both succeed, or
// one of them is told: no change that was confirmed is lost. Once the revision is in force, its
// suites refuse this change.
func TestSettingsMeetTheFirstRevision(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ready, err := prepare(background, publishing{Files: openAlbum(), Settings: engine.DefaultSettings(),
			Before: settingsText(engine.DefaultSettings()), Reason: "first"})
		if err != nil {
			t.Fatal(err)
		}
		scope := "eu"
		for range 12 {
			acme := d.Tenant(t, "acme-"+id.New().String())
			var errs [2]error
			d.Race(t, 2, func(i int) {
				if i == 0 {
					_, errs[i] = db.Write(background, d.DB, acme, func(tx *db.Tx) (Revision, error) {
						return publish(background, tx, ready)
					})
					return
				}
				_, errs[i] = configured(d, acme, SettingsChange{DefaultScope: &scope})
			})
			for i, err := range errs {
				if err != nil && fault.Of(err) != fault.Conflict && !(i == 1 && fault.As(err).Code == ErrInvalid.Code) {
					t.Fatal(err)
				}
			}
			now, err := db.Read(background, d.DB, acme, func(tx *db.Tx) (engine.Settings, error) {
				return settingsInForce(background, tx)
			})
			if err != nil || (errs[1] == nil) != (now.DefaultScope == scope) {
				t.Errorf("publishing: %v, changing: %v; then the scope is %q (%v)", errs[0], errs[1],
					now.DefaultScope, err)
			}
			if errs[0] != nil && errs[1] != nil {
				t.Errorf("neither succeeded: %v", errs)
			}
		}
	})
}
