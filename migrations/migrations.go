// Package migrations has the schema of both databases as paired, forward-only files. Number N below
// postgres/ and number N below sqlite/ are the same step.
//
// A tenant table has tenant_id first in its primary key and a foreign key (tenant_id) REFERENCES
// tenants(id) without cascade. On Postgres its file calls gatehouse_protect for it. SystemTables
// lists every other table with its reason.
//
// On Postgres the migrating role owns the tables, and row-level security binds it too. A step that
// reads or writes rows of all tenants first says ALTER TABLE t NO FORCE ROW LEVEL SECURITY, and
// restores FORCE at its end. It is one transaction. Adding a foreign key to a table reads both
// tables. Migrations run with row_security = off, so a step that forgets to lift the force fails.
//
// Steps expand before they contract: replicas of the release before run on the new schema, and may
// start on it. A step that takes away what they use says so, in both files:
//
//	UPDATE schema_support SET oldest = N;
//
// N is the number of the first step whose binaries do without it. A table with tenant_id that is
// new in SystemTables counts as such, because older binaries take it for a tenant's.
//
// A new index on a table of an earlier step is built while writes go on. On Postgres its step
// begins with -- +goose NO TRANSACTION, and each statement in it can be repeated after a crash:
// DROP INDEX CONCURRENTLY IF EXISTS, then CREATE INDEX CONCURRENTLY. For a partitioned table the
// step has the line "-- Partitions first." and nothing but CREATE INDEX: see kit/db.
//
// The database records which numbers were applied, and no checksums. A file may be mended for new
// databases if old ones already have the same schema from it.
package migrations

import "embed"

// Postgres holds postgres/*.sql.
//
//go:embed postgres/*.sql
var Postgres embed.FS

// SQLite holds sqlite/*.sql.
//
//go:embed sqlite/*.sql
var SQLite embed.FS

// SystemTables names the tables that no tenant owns, each with its reason. They hold no personal
// data. Only db.System, and statements that name the tenant by $1, reach them.
var SystemTables = map[string]string{
	"tenants":          "read before a tenant is known; holds names and settings, no personal data",
	"tenant_domains":   "maps a host to its tenant before a tenant is known",
	"retired_names":    "slugs and domains of deleted tenants, which no other tenant gets",
	"schema_support":   "one row that says which older binaries can serve this schema",
	"config_clock":     "one row that every replica polls for changed configuration",
	"job_tenants":      "tells workers which tenants have due jobs, never what they are",
	"usage_months":     "sums of each tenant's month, which the platform lists; no personal data",
	"goose_db_version": "the migrations' own record",
	"goose_lock":       "keeps two replicas from migrating at once",
}
