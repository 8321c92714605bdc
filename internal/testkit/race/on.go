//go:build race

package race

// Detector reports whether the tests were built with -race.
const Detector = true
