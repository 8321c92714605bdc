// Package app wires Gatehouse: it is the one package that imports all others, and
// it holds no rule of its own. Each command of the binary is a file here; Open
// makes the parts, serve.go puts them behind listeners.
package app

//go:generate go test -count=1 -run ^TestOpenAPIIsCurrent$ . -write
