// Package race says whether the race detector watches the tests.
//
// A test that compares many answers runs a sample with the detector, and all of them without.
// SAMPLED in the Makefile names its package, so that make check runs all of them.
package race
