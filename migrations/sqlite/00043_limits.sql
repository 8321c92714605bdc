-- +goose Up

-- What the platform lets a tenant have, as JSON.
ALTER TABLE tenants ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';

-- The last event about a limit: its month, the limit then, and 80 or 100 percent. used is the
-- number of active users of the month. The row is also the lock that creators of one tenant take in
-- turn.
CREATE TABLE limit_notices (
    tenant_id BLOB    NOT NULL REFERENCES tenants (id),
    name      TEXT    NOT NULL,
    period    INTEGER NOT NULL,
    most      INTEGER NOT NULL,
    level     INTEGER NOT NULL,
    used      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;
