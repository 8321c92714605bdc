// Package signingkey owns the keys that a tenant signs its tokens with.
//
// A tenant has one current key per algorithm, which signs, and one next key,
// which is already published so that everybody knows it before it is used. After
// a rotation the old key is retired: it verifies, and is published for
// PublishRetired more. Keys are made the first time a tenant needs one, so a new
// tenant costs none. Private halves lie sealed in the database, for their tenant
// only.
//
// It never looks for a key outside of the tenant it was asked about, and it never
// trusts the algorithm a token names.
package signingkey
