// Package db is the only way to SQL. It owns connections, transactions and the locks that keep
// tenants apart, over Postgres and SQLite behind one type.
//
// A caller that names its tenant opens a transaction. In it, $1 of every statement is that tenant,
// bound by this package. A statement that mentions a tenant table without tenant_id = $1 is refused
// before it is sent.
//
// Postgres adds row-level security, under a role that cannot bypass it. SQLite has none, so this
// package adds two checks there. The query plan of a statement must reach each tenant table by
// tenant_id=?. Triggers on the writing connection compare tenant_id with the bound tenant.
//
// Isolation costs round trips on Postgres, so this package saves them. A read sends its bind and
// its statement in one batch without BEGIN, as an implicit transaction. A write sends BEGIN and the
// bind with its first statement, and what Later deferred with COMMIT.
//
// It never knows a noun of identity, and never retries a write whose fate is unknown.
package db
