// Package secret holds what must not be seen and what seals it.
//
// It knows nothing of identity and never stores anything.
package secret
