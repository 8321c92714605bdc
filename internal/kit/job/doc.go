// Package job runs work after the transaction that enqueued it, at least once.
//
// It is for work that must not happen inside a transaction: mail, HTTP, long deletions. A job is
// enqueued in the transaction of the change that needs it, so neither exists without the other. Its
// payload is sealed at rest and protected by its tenant's row-level security. Across tenants only
// one fact is visible: which of them have due jobs (job_tenants). A worker leases one tenant at a
// time, so no tenant can starve another. Each job extends the lease, and a worker that has lost it
// stops. Tenants whose jobs are slow share a few workers, so that one tenant's slow mail server
// holds up no other tenant.
//
// Handlers must be idempotent: after a crash a job that was not yet noted as done runs again.
package job
