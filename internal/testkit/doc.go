// Package testkit is what tests share: both databases, ready and migrated, and
// callers. It holds nothing that production code imports, and no stand-ins for
// our own code.
package testkit
