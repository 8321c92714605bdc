package decision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Bounds of Settings.
const (
	defaultRetention = 30 * 24 * time.Hour
	maxRetentionDays = 400
	maxRules         = 50
)

// MaxRetention is the longest retention that a tenant may choose.
const MaxRetention = maxRetentionDays * 24 * time.Hour

// Settings are a tenant's choices about its records.
type Settings struct {
	RetentionDays int    `json:"retention_days" minimum:"1" maximum:"400" doc:"How many days decision and access records are kept."`
	Redaction     []Rule `json:"redaction" maxItems:"50" doc:"Attributes that are redacted. A change applies to new decisions, within a second."`
}

// Retention returns how long records are kept.
func (s Settings) Retention() time.Duration { return time.Duration(s.RetentionDays) * 24 * time.Hour }

// defaultSettings are those of a tenant that never changed them.
func defaultSettings() Settings {
	return Settings{RetentionDays: int(defaultRetention / (24 * time.Hour)), Redaction: []Rule{}}
}

func (s Settings) check() error {
	var wrong fault.Fields
	if s.RetentionDays < 1 || s.RetentionDays > maxRetentionDays {
		wrong.Add("retention_days", "This must be from 1 to %d days.", maxRetentionDays)
	}
	if len(s.Redaction) > maxRules {
		wrong.Add("redaction", "A tenant may have at most %d redaction rules.", maxRules)
	} else {
		for i, r := range s.Redaction {
			if _, err := r.compile(); err != nil {
				wrong.Add(fmt.Sprintf("redaction[%d]", i), "%s", err.Error())
			}
		}
	}
	return wrong.Err("decision_settings.invalid")
}

// ReadSettings returns the tenant's settings.
func ReadSettings(ctx context.Context, tx *db.Tx) (Settings, error) {
	text, err := db.One(ctx, tx, db.Column[string],
		`SELECT settings FROM decision_settings WHERE tenant_id = $1`)
	if errors.Is(err, db.ErrNoRows) {
		return defaultSettings(), nil
	}
	s := defaultSettings()
	if err == nil {
		err = json.Unmarshal([]byte(text), &s)
	}
	if err != nil {
		return Settings{}, fmt.Errorf("decision settings: %w", err)
	}
	return s, nil
}

// holdSettings returns the tenant's settings, and locks them until the transaction ends.
func holdSettings(ctx context.Context, tx *db.Tx) (Settings, error) {
	text, err := json.Marshal(defaultSettings())
	if err != nil {
		return Settings{}, err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO decision_settings (tenant_id, settings, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (tenant_id) DO UPDATE SET updated_at = decision_settings.updated_at`,
		string(text), tx.Now()); err != nil {
		return Settings{}, err
	}
	return ReadSettings(ctx, tx)
}

// WriteSettings replaces the tenant's settings. It fails with an Invalid fault that names every
// wrong field.
func WriteSettings(ctx context.Context, tx *db.Tx, s Settings) error {
	if s.Redaction == nil {
		s.Redaction = []Rule{}
	}
	if err := s.check(); err != nil {
		return err
	}
	before, err := holdSettings(ctx, tx)
	if err != nil {
		return err
	}
	changed := audit.Changed(before, s)
	if len(changed) == 0 {
		return nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	tx.Later(`INSERT INTO decision_settings (tenant_id, settings, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (tenant_id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at`,
		string(text), tx.Now())
	audit.Write(tx, audit.Event{Action: "settings.update", Target: audit.Target{Kind: "decision-settings"},
		Changed: changed})
	tenant.Touch(tx)
	return nil
}

// settingsOf is a replica's copy of the tenants' settings, with compiled rules.
type settingsOf struct {
	db     *db.DB
	copies *cache.Cache[struct{}, []rule]
}

func (s settingsOf) rules(ctx context.Context, c caller.Caller) ([]rule, error) {
	return s.copies.Get(ctx, c.Tenant, struct{}{}, func(ctx context.Context) ([]rule, error) {
		now, err := db.Read(ctx, s.db, c, func(tx *db.Tx) (Settings, error) { return ReadSettings(ctx, tx) })
		if err != nil {
			return nil, err
		}
		return compile(now.Redaction)
	})
}

// Drop evicts a tenant's settings; those of all tenants for the zero id. Pass it to
// tenant.Directory.Watch, or changes on another replica stay unseen.
func (r *Recorder) Drop(tenant id.ID) { r.settings.copies.Drop(tenant) }
