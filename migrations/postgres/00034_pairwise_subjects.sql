-- +goose Up

-- How the application is told a user's sub: 'public' or 'pairwise', by the host of its sector.
ALTER TABLE applications
    ADD COLUMN subject_type      text NOT NULL DEFAULT 'public',
    ADD COLUMN sector_identifier text NOT NULL DEFAULT '';

-- The sealed secret from which a tenant's pairwise subs are computed. It never changes, because the
-- subs would change with it. A tenant has none until an application is pairwise.
CREATE TABLE subject_secrets (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    secret     bytea  NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT gatehouse_protect('subject_secrets');
