// Package audit owns the audit log: who did what to what, when, from where, and with what outcome.
//
// Audit events record every change, sign-in, refusal, lock and revocation. They are written in the
// transaction of the change, so neither exists without the other. They are append-only: the
// database rejects an UPDATE or DELETE.
//
// Access records are about requests that change nothing, such as a token issued to a machine or an
// introspection. A Recorder writes them in batches. A crash loses at most what waits in its queue
// (package batch).
//
// It never holds a secret, and it never decides anything.
package audit
