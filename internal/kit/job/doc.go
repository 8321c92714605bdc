// Package job runs work that may not happen inside a transaction (mail, HTTP,
// long deletions), at least once, after the transaction that asked for it.
//
// A job is enqueued in the transaction of the change that wants it, so neither
// exists without the other. Its payload is sealed at rest and lies under its
// tenant's row-level security; the only thing visible across tenants is which of
// them have due jobs (job_tenants). A worker leases one tenant at a time, so no
// tenant can starve another.
//
// Handlers must be idempotent: a crash between doing and noting runs them again.
package job
