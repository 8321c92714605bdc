// Package app wires Gatehouse. It is the only package that imports all others, and it holds no rule
// of its own.
//
// Open builds the parts, and serve.go puts them behind listeners. Each command of the binary has a
// file of its own.
package app

//go:generate go test -count=1 -run ^TestOpenAPIIsCurrent$ . -write
