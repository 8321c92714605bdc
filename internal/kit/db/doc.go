// Package db is the only way to SQL. It owns connections, transactions and the
// locks that keep tenants apart, over Postgres and SQLite behind one type.
//
// A transaction is opened with a caller that names its tenant. Inside it, $1 of
// every statement is that tenant, bound by this package; a statement that
// mentions a tenant table without tenant_id = $1 is refused before it is sent.
// Postgres adds row-level security under a role that cannot bypass it. SQLite,
// which has none, adds two checks: the query plan of every statement must reach
// each tenant table by tenant_id=?, and triggers on the writing connection
// compare tenant_id with the bound tenant.
//
// Round trips are what isolation costs on Postgres, so they are spent sparingly:
// a read sends its bind and its statement in one batch without BEGIN (an implicit
// transaction); a write sends BEGIN and the bind with its first statement, and
// whatever was put off with Later together with COMMIT.
//
// It never knows a noun of identity, and it never retries a write whose fate is
// unknown.
package db
