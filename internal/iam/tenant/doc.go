// Package tenant owns the isolation boundary: a tenant's slug, name, status, domains and settings,
// the platform tenant, and the deletion of everything that belongs to a tenant.
//
// Invariants:
//   - A slug and a domain each name one tenant. A slug never changes: it is part of the issuer,
//     which applications compare byte by byte.
//   - Creating a tenant is a few rows in one transaction, whatever the number of tenants.
//   - A suspended tenant answers no request. One that is being deleted is not found.
//   - Deletion is a job in batches. The tenant's own row goes last, and every tenant table
//     references it without cascade: when it is gone, nothing else is left.
//   - The platform tenant can be neither suspended nor deleted.
//
// Replicas keep copies of tenants in a Directory. A transaction that changes what replicas keep
// copies of calls Touch. One that changes what a principal is calls PrincipalsChanged, whose
// version every decision uses (Versions).
package tenant
