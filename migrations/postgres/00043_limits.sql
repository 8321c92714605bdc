-- +goose Up

-- What the platform lets a tenant have, as JSON.
ALTER TABLE tenants ADD COLUMN limits text NOT NULL DEFAULT '{}';

-- The last event about a limit: its month, the limit then, and 80 or 100 percent. used is the
-- number of active users of the month. The row is also the lock that creators of one tenant take in
-- turn.
CREATE TABLE limit_notices (
    tenant_id uuid    NOT NULL REFERENCES tenants (id),
    name      text    NOT NULL,
    period    integer NOT NULL,
    most      bigint  NOT NULL,
    level     integer NOT NULL,
    used      bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, name)
);
SELECT gatehouse_protect('limit_notices');
