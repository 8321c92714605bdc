package policy

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// SettingsView is engine.Settings as the API shows and the database stores them.
type SettingsView struct {
	DefaultPolicyVersion string         `json:"default_policy_version" minLength:"1" maxLength:"128" doc:"The policy version of a request that names none."`
	DefaultScope         string         `json:"default_scope" maxLength:"256" doc:"The scope of a request that names none."`
	LenientScopeSearch   bool           `json:"lenient_scope_search" doc:"If a scope has no policy, the scopes above it are searched."`
	StrictEvaluation     bool           `json:"strict_evaluation" doc:"An error in a condition denies the action. Otherwise the rule is skipped."`
	SchemaEnforcement    string         `json:"schema_enforcement" enum:"none,warn,reject" doc:"What becomes of attributes that do not follow the schema of a policy."`
	Globals              map[string]any `json:"globals" doc:"The variable G (globals) of conditions."`
	KeySets              []KeySetView   `json:"key_sets" maxItems:"20" doc:"Public keys that the JWT of a request's auxData is verified with."`
}

// KeySetView is an engine.KeySet as the API shows and the database stores it.
type KeySetView struct {
	ID             string `json:"id" minLength:"1" maxLength:"64" doc:"What requests call it: auxData.jwt.keySetId."`
	URL            string `json:"url,omitempty" maxLength:"500" doc:"The https address of a JWK set. Either this or keys."`
	RefreshSeconds int64  `json:"refresh_seconds,omitempty" minimum:"60" maximum:"604800" doc:"Seconds between fetches of url. Default 3600."`
	Keys           string `json:"keys,omitempty" maxLength:"65536" doc:"A JWK set as JSON text, or keys in PEM. Either this or url."`
	PEM            bool   `json:"pem,omitempty" doc:"keys is PEM."`
	OptionalAlg    bool   `json:"optional_alg,omitempty" doc:"Keys without alg are accepted. Cerbos calls this insecure."`
	OptionalKid    bool   `json:"optional_kid,omitempty" doc:"Keys without kid are accepted. Cerbos calls this insecure."`
}

// SettingsChange is a patch of the settings; nil leaves a field unchanged. Globals and key sets are
// replaced as a whole.
type SettingsChange struct {
	DefaultPolicyVersion *string         `json:"default_policy_version,omitempty" minLength:"1" maxLength:"128" doc:"The policy version of a request that names none."`
	DefaultScope         *string         `json:"default_scope,omitempty" maxLength:"256" doc:"The scope of a request that names none."`
	LenientScopeSearch   *bool           `json:"lenient_scope_search,omitempty" doc:"If a scope has no policy, the scopes above it are searched."`
	StrictEvaluation     *bool           `json:"strict_evaluation,omitempty" doc:"An error in a condition denies the action. Otherwise the rule is skipped."`
	SchemaEnforcement    *string         `json:"schema_enforcement,omitempty" enum:"none,warn,reject" doc:"What becomes of attributes that do not follow the schema of a policy."`
	Globals              *map[string]any `json:"globals,omitempty" doc:"The variable G (globals) of conditions. Replaces all of them."`
	KeySets              *[]KeySetView   `json:"key_sets,omitempty" maxItems:"20" doc:"Public keys that the JWT of a request's auxData is verified with. Replaces all of them."`
}

// settingsView returns the settings as the API shows them.
func settingsView(s engine.Settings) SettingsView {
	v := SettingsView{
		DefaultPolicyVersion: s.DefaultVersion, DefaultScope: s.DefaultScope, LenientScopeSearch: s.LenientScopeSearch,
		StrictEvaluation: s.StrictEvaluation, SchemaEnforcement: s.SchemaEnforcement, Globals: s.Globals,
		KeySets: make([]KeySetView, len(s.KeySets)),
	}
	for i, k := range s.KeySets {
		v.KeySets[i] = KeySetView{
			ID: k.ID, URL: k.URL, RefreshSeconds: int64(k.Refresh / time.Second), Keys: k.Keys,
			PEM: k.PEM, OptionalAlg: k.OptionalAlg, OptionalKid: k.OptionalKid,
		}
	}
	return v
}

// settings returns the engine's settings. A key set with a URL refreshes hourly by default.
func (v SettingsView) settings() engine.Settings {
	s := engine.Settings{
		DefaultVersion: v.DefaultPolicyVersion, DefaultScope: v.DefaultScope, LenientScopeSearch: v.LenientScopeSearch,
		StrictEvaluation: v.StrictEvaluation, SchemaEnforcement: v.SchemaEnforcement, Globals: v.Globals,
		KeySets: make([]engine.KeySet, len(v.KeySets)),
	}
	if s.Globals == nil {
		s.Globals = map[string]any{}
	}
	for i, k := range v.KeySets {
		if k.URL != "" && k.RefreshSeconds == 0 {
			k.RefreshSeconds = 3600
		}
		s.KeySets[i] = engine.KeySet{
			ID: k.ID, URL: k.URL, Refresh: time.Duration(k.RefreshSeconds) * time.Second, Keys: k.Keys,
			PEM: k.PEM, OptionalAlg: k.OptionalAlg, OptionalKid: k.OptionalKid,
		}
	}
	return s
}

// apply returns v with the patch's changes.
func (p SettingsChange) apply(v SettingsView) SettingsView {
	set(&v.DefaultPolicyVersion, p.DefaultPolicyVersion)
	set(&v.DefaultScope, p.DefaultScope)
	set(&v.LenientScopeSearch, p.LenientScopeSearch)
	set(&v.StrictEvaluation, p.StrictEvaluation)
	set(&v.SchemaEnforcement, p.SchemaEnforcement)
	set(&v.Globals, p.Globals)
	set(&v.KeySets, p.KeySets)
	return v
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// parseSettings reads stored settings. A field that an older version did not store has its default.
func parseSettings(text string) (engine.Settings, error) {
	v := settingsView(engine.DefaultSettings())
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return engine.Settings{}, fmt.Errorf("policy settings: %w", err)
	}
	return v.settings(), nil
}

// settingsText returns the settings as the database stores them.
func settingsText(s engine.Settings) string {
	b, _ := json.Marshal(settingsView(s)) // JSON values only
	return string(b)
}

// maxGlobals bounds the globals as JSON, in bytes, because every evaluator holds them.
const maxGlobals = 64 << 10

var (
	versionRE    = regexp.MustCompile(`^[[:alnum:]]+([-_.][[:alnum:]]+)*$`)
	scopeRE      = regexp.MustCompile(`^([[:alnum:]][[:word:]\-]*(\.[[:alnum:]][[:word:]\-]*)*)?$`)
	identifierRE = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	keySetRE     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

// validateSettings adds every error in the settings to wrong.
func validateSettings(s engine.Settings, wrong *fault.Fields) {
	if !versionRE.MatchString(s.DefaultVersion) || len(s.DefaultVersion) > 128 {
		wrong.Add("default_policy_version", "A version has letters and digits, with - _ or . between them, such as "+
			"default or 2026-01.")
	}
	if !scopeRE.MatchString(s.DefaultScope) || len(s.DefaultScope) > 256 {
		wrong.Add("default_scope", "A scope is empty, or words with dots between them, such as acme.sales.")
	}
	if s.SchemaEnforcement != engine.SchemaNone && s.SchemaEnforcement != engine.SchemaWarn &&
		s.SchemaEnforcement != engine.SchemaReject {
		wrong.Add("schema_enforcement", "This must be none, warn or reject.")
	}
	if b, err := json.Marshal(s.Globals); err != nil || len(b) > maxGlobals {
		wrong.Add("globals", "The globals must be JSON of at most %d bytes.", maxGlobals)
	}
	for name := range s.Globals {
		if !identifierRE.MatchString(name) || len(name) > 128 {
			wrong.Add("globals", "%.80q cannot be used in a condition. A name begins with a letter and has "+
				"letters, digits and _.", name)
		}
	}
	if len(s.KeySets) > 20 {
		wrong.Add("key_sets", "A tenant may have at most 20 key sets.")
		return
	}
	seen := map[string]bool{}
	for i, k := range s.KeySets {
		at := fmt.Sprintf("key_sets[%d].", i)
		if !keySetRE.MatchString(k.ID) {
			wrong.Add(at+"id", "An id has 1 to 64 letters, digits and . _ -.")
		} else if seen[k.ID] {
			wrong.Add(at+"id", "Another key set is called %s too.", k.ID)
		}
		seen[k.ID] = true
		validateKeySet(k, at, wrong)
	}
}

func validateKeySet(k engine.KeySet, at string, wrong *fault.Fields) {
	switch {
	case (k.URL == "") == (k.Keys == ""):
		wrong.Add(at+"url", "A key set has either url or keys.")
	case k.URL != "":
		u, err := url.Parse(k.URL)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" ||
			len(k.URL) > 500 {
			wrong.Add(at+"url", "The keys must have an https address of at most 500 characters.")
		}
		if k.Refresh < time.Minute || k.Refresh > 7*24*time.Hour {
			wrong.Add(at+"refresh_seconds", "This must be from 60 to 604800 seconds.")
		}
	case len(k.Keys) > 64<<10:
		wrong.Add(at+"keys", "The keys may have at most 65536 bytes.")
	case k.PEM && !strings.Contains(k.Keys, "-----BEGIN "):
		wrong.Add(at+"keys", "There is no PEM block in these keys.")
	case strings.Contains(k.Keys, "PRIVATE KEY-----"):
		wrong.Add(at+"keys", "This is a private key. Only public keys belong here.")
	case !k.PEM && !json.Valid([]byte(k.Keys)):
		wrong.Add(at+"keys", "The keys must be a JWK set as JSON text, or PEM with pem set to true.")
	default:
		if err := k.Check(); err != nil {
			wrong.Add(at+"keys", "These keys cannot be used: %s.", err)
		}
	}
}
