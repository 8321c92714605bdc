// Package recordpb owns the encoding of a stored decision record: record.proto and the Go code
// generated from it.
//
// Only iam/decision imports it. It never knows what a field means.
package recordpb

//go:generate go run ./generate
