package policy

import (
	"context"
	"errors"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// configure changes the engine's settings at once. It publishes the files in force again with the
// new settings, after their suites passed by these. So a rollback restores the settings too, and a
// decision's revision names those that decided it.
func (deps Deps) configure(ctx context.Context, d *db.DB, req api.Request, in *patchSettingsInput) (SettingsView,
	error) {
	var files compiler.Files
	now, err := db.Read(ctx, d, req.Caller, func(tx *db.Tx) (inForce, error) {
		now, err := readInForce(ctx, tx)
		if err == nil && now.Number > 0 {
			files, err = RevisionFiles(ctx, tx, now.Number)
		}
		return now, err
	})
	if err != nil {
		return SettingsView{}, err
	}
	if now.Number == 0 {
		s, err := db.Write(ctx, d, req.Caller, func(tx *db.Tx) (engine.Settings, error) {
			return configureFirst(ctx, tx, req, in.Body.SettingsChange)
		})
		return settingsView(s), err
	}
	if err := req.Check(settingsView(now.engine)); err != nil {
		return SettingsView{}, err
	}
	s, err := in.Body.changed(now.engine)
	if err != nil || now.is(now.Digest, s) {
		return settingsView(s), err
	}
	reason := "Settings: " + strings.Join(in.Body.fields(), ", ")
	if in.Body.Reason != "" {
		if reason, err = checkReason(in.Body.Reason); err != nil {
			return SettingsView{}, err
		}
	}
	// Whether the files decide anything was settled when they were published.
	v, err := testAndPublish(ctx, d, deps, req, publishing{Base: now.Number, Of: now.Number, Files: files,
		Settings: s, Reason: reason, AllowEmpty: true}, "",
		func(Revision, []compiler.Problem) SettingsView { return settingsView(s) })
	if errors.Is(err, errOvertaken) && req.Preconditions.Given() {
		err = api.ErrPrecondition
	}
	return v, err
}

// configureFirst changes the settings that the tenant's first revision will have. Until then, only
// the key sets matter.
func configureFirst(ctx context.Context, tx *db.Tx, req api.Request, p SettingsChange) (engine.Settings, error) {
	if err := lockSettings(ctx, tx); err != nil {
		return engine.Settings{}, err
	}
	if current, err := currentNumber(ctx, tx); err != nil || current > 0 {
		if err == nil {
			err = errOvertaken
		}
		return engine.Settings{}, err
	}
	stored, err := getSettings(ctx, tx)
	if err != nil {
		return engine.Settings{}, err
	}
	if err := req.Check(settingsView(stored.Settings)); err != nil {
		return engine.Settings{}, err
	}
	s, err := p.changed(stored.Settings)
	if err != nil {
		return engine.Settings{}, err
	}
	changed := audit.Changed(settingsView(stored.Settings), settingsView(s))
	if len(changed) == 0 {
		return s, nil
	}
	// Without a revision there is no number that tells the draft's publisher of this change.
	if draft, err := getDraft(ctx, tx); err != nil {
		return engine.Settings{}, err
	} else if draft.settings != "" {
		return engine.Settings{}, errDraftSettings
	}
	if err := putSettings(ctx, tx, s, stored.updatedAt); err != nil {
		return engine.Settings{}, err
	}
	audit.Write(tx, audit.Event{Action: "policy.configure", Target: audit.Target{Kind: "policy", ID: "settings",
		Name: "settings"}, Changed: changed})
	tenant.Touch(tx)
	return s, nil
}

// changed returns the settings with the patch's changes. It fails with an Invalid fault that names
// every wrong field.
func (p SettingsChange) changed(before engine.Settings) (engine.Settings, error) {
	s := p.apply(settingsView(before)).settings()
	var wrong fault.Fields
	validateSettings(s, &wrong)
	return s, wrong.Err("policy.settings_invalid")
}

var errSettingsChanged = fault.New(fault.Conflict, "policy.settings_changed", "Another request changed these "+
	"settings at the same moment. Read them again and repeat your change.")

var errDraftSettings = fault.New(fault.Conflict, "policy.draft_settings", "The draft has settings of its own, and "+
	"its publication would take back this change. Change those of the draft, or publish or discard it first.")

// fields names the settings that a patch changes.
func (p SettingsChange) fields() []string {
	out := []string{}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"default_policy_version", p.DefaultPolicyVersion != nil}, {"default_scope", p.DefaultScope != nil},
		{"lenient_scope_search", p.LenientScopeSearch != nil}, {"strict_evaluation", p.StrictEvaluation != nil},
		{"schema_enforcement", p.SchemaEnforcement != nil}, {"globals", p.Globals != nil},
		{"key_sets", p.KeySets != nil},
	} {
		if f.set {
			out = append(out, f.name)
		}
	}
	return out
}
