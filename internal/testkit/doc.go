// Package testkit is what tests share: both databases, migrated and ready, their callers, and
// patience. Production code does not import it. It holds no stand-ins for our own code.
package testkit
