// Package audit owns the record of who did what to what, when, from where and
// with what outcome.
//
// Audit events (every change, every sign-in, refusal, lock and revocation) are
// written in the transaction of what they tell: neither can exist without the
// other. They are append-only; the database refuses to change one.
//
// Access records (a machine token issued, a token introspected) change nothing and are
// written in batches by a Recorder. A crash loses at most what waits in its queue:
// batch.QueueSize records, or those of the last batch.FlushEvery.
//
// It never holds a secret, and it never decides anything.
package audit
