// Package decision owns the records of the policy engine's answers: their list, their explanation,
// and the replay of a draft over them.
//
// A record is one answer about all resources of a request. It is written after the answer, in
// batches. A crash loses at most what waits in the Recorder's queue (package batch). Other losses
// are counted. Records never change, and are deleted when they are older than the tenant's
// retention.
//
// Invariants:
//   - The tenant's redaction rule applies before a record reaches the database. If the rule cannot
//     be read, the record is lost.
//   - A record marks the values that a rule or the size limit removed.
//   - Outputs, messages and conditions may repeat an attribute's value, so they are not stored. An
//     explanation computes them again.
//
// It never decides anything, and no answer waits for it.
package decision
