-- +goose Up

-- Decision records, one row per answer; see the Postgres file.
CREATE TABLE decisions (
    tenant_id      BLOB    NOT NULL REFERENCES tenants (id),
    id             BLOB    NOT NULL,
    principal      INTEGER NOT NULL,
    resource       INTEGER NOT NULL,
    application_id BLOB,
    revision       INTEGER NOT NULL,
    effects        INTEGER NOT NULL,
    body           BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
CREATE INDEX decisions_principal ON decisions (tenant_id, principal, id);
CREATE INDEX decisions_resource ON decisions (tenant_id, resource, id);

CREATE TABLE decision_settings (
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    settings   TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE policy_replays (
    tenant_id     BLOB    NOT NULL REFERENCES tenants (id),
    id            BLOB    NOT NULL,
    draft_version BLOB    NOT NULL,
    digest        TEXT    NOT NULL,
    report        BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
