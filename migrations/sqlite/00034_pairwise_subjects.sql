-- +goose Up

-- How the application is told a user's sub: 'public' or 'pairwise', by the host of its sector.
ALTER TABLE applications ADD COLUMN subject_type TEXT NOT NULL DEFAULT 'public';
ALTER TABLE applications ADD COLUMN sector_identifier TEXT NOT NULL DEFAULT '';

-- The sealed secret from which a tenant's pairwise subs are computed. It never changes, because the
-- subs would change with it. A tenant has none until an application is pairwise.
CREATE TABLE subject_secrets (
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    secret     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT, WITHOUT ROWID;
