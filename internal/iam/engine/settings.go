package engine

import "time"

// How strictly attributes must follow the schemas of a policy.
const (
	SchemaNone   = "none"   // schemas are ignored
	SchemaWarn   = "warn"   // what does not follow is reported with the answer
	SchemaReject = "reject" // what does not follow is denied
)

// Settings are what a tenant decides about its engine. They are Cerbos' own words (its
// configuration sections engine, schema and auxData), and count from the moment they are
// stored, for the revision in force.
type Settings struct {
	DefaultVersion     string         // of a policy, where a request names none
	DefaultScope       string         // where a request names none
	LenientScopeSearch bool           // a missing scope is looked for up the tree
	StrictEvaluation   bool           // an error in a condition denies, instead of passing over the rule
	SchemaEnforcement  string         // SchemaNone, SchemaWarn or SchemaReject
	Globals            map[string]any // the variable G of conditions: JSON values
	KeySets            []KeySet       // to verify the JWT of auxData with
}

// KeySet is a set of public keys, named by its ID. Either URL or Keys is set.
type KeySet struct {
	ID      string
	URL     string        // of a JWK set, https
	Refresh time.Duration // how often URL is asked anew: 1 minute to 7 days
	Keys    string        // a JWK set, or PEM
	PEM     bool          // Keys is PEM
	// Algorithms and key ids may be missing from the keys. Cerbos calls both insecure.
	OptionalAlg, OptionalKid bool
}

// DefaultSettings are those of a tenant that never changed them: Cerbos' own.
func DefaultSettings() Settings {
	return Settings{DefaultVersion: "default", SchemaEnforcement: SchemaNone, Globals: map[string]any{}, KeySets: []KeySet{}}
}
