// Package signingkey owns the keys that a tenant signs its tokens with.
//
// A tenant has one current key per algorithm, which signs, and one next key. The next key is
// published long before it signs, so that every verifier has it by then. After a rotation the old
// key is retired: it still verifies, and stays published for a while. Keys are created the first
// time a tenant needs one, so a new tenant costs none. Private keys are stored sealed, and only
// their tenant can open them.
//
// It never searches for a key outside the tenant of the request, and never trusts the algorithm
// that a token names.
package signingkey
