package engine

import "time"

// Values of SchemaEnforcement: how strictly attributes must follow the schemas of a policy.
const (
	SchemaNone   = "none"   // schemas are ignored
	SchemaWarn   = "warn"   // the answer reports violations
	SchemaReject = "reject" // a violation denies
)

// Settings are a tenant's settings of the engine, named as in Cerbos' configuration (engine, schema
// and auxData). They belong to a revision.
type Settings struct {
	DefaultVersion     string         // of a policy, if a request names none
	DefaultScope       string         // if a request names none
	LenientScopeSearch bool           // search the parents of a missing scope
	StrictEvaluation   bool           // an error in a condition denies, instead of skipping the rule
	SchemaEnforcement  string         // SchemaNone, SchemaWarn or SchemaReject
	Globals            map[string]any // the variable G of conditions: JSON values
	KeySets            []KeySet       // that verify the JWT of auxData
}

// KeySet is a set of public keys, named by its ID. Either URL or Keys is set.
type KeySet struct {
	ID      string
	URL     string        // of a JWK set, https
	Refresh time.Duration // how often URL is fetched: 1 minute to 7 days
	Keys    string        // a JWK set, or PEM
	PEM     bool          // Keys is PEM
	// Algorithms and key ids may be missing from the keys. Cerbos calls both insecure.
	OptionalAlg, OptionalKid bool
}

// DefaultSettings returns the settings of a tenant that never changed them: Cerbos' own.
func DefaultSettings() Settings {
	return Settings{DefaultVersion: "default", SchemaEnforcement: SchemaNone, Globals: map[string]any{},
		KeySets: []KeySet{}}
}
