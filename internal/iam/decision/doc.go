// Package decision owns the record of what the policy engine answered: decision
// records, their list, their explanation, and the replay of a draft over them.
//
// A record is one answer, with every resource it was about. It is written after the
// answer, in batches; a crash loses at most what waits in the Recorder's queue
// (batch.QueueSize records, or those of the last batch.FlushEvery), and what is lost
// otherwise is counted. Records never change; they are deleted when they are older
// than the tenant's retention.
//
// Invariants:
//   - The tenant's redaction rule is applied before a record reaches the database. If
//     the rule cannot be read, the record is lost rather than stored without it.
//   - What a rule or the size limit took away is marked on the record.
//   - Outputs, messages and conditions, which may repeat an attribute's value, are not
//     stored: explaining a decision computes them again.
//
// It never decides anything, and no answer waits for it.
package decision
