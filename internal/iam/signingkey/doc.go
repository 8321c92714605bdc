// Package signingkey owns the keys that a tenant signs its tokens with.
//
// A tenant has one current key per algorithm, which signs, and one next key. No key signs before
// clients can have it. The next key is published for PublishAhead at least. The first keys are
// created together, before the tenant publishes anything. Those of EdDSA are there only while an
// application names it. After a rotation the old key is retired: it verifies what it signed before,
// and stays published for a while. A withdrawn key is deleted, and verifies nothing. Keys are
// created the first time a tenant needs one, so a new tenant costs none. Private keys are stored
// sealed, and only their tenant can open them.
//
// It never searches for a key outside the tenant of the request, and never trusts the algorithm
// that a token names.
package signingkey
