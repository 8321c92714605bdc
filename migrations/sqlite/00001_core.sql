-- +goose Up

CREATE TABLE tenants (
    id             BLOB    PRIMARY KEY,
    slug           TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    status         TEXT    NOT NULL,
    settings       TEXT    NOT NULL DEFAULT '{}',
    config_version INTEGER NOT NULL DEFAULT 0,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tenants__slug ON tenants (slug);
CREATE INDEX tenants_config_version ON tenants (config_version);

CREATE TABLE tenant_domains (
    domain     TEXT    PRIMARY KEY,
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tenant_domains_tenant ON tenant_domains (tenant_id);

CREATE TABLE config_clock (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    version   INTEGER NOT NULL,
    tenant_id BLOB
) STRICT;
INSERT INTO config_clock (id, version) VALUES (1, 0);

CREATE TABLE job_tenants (
    tenant_id   BLOB    PRIMARY KEY REFERENCES tenants (id),
    due_at      INTEGER NOT NULL,
    lease_until INTEGER NOT NULL DEFAULT 0,
    lease_owner TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX job_tenants_due ON job_tenants (due_at);

CREATE TABLE jobs (
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    id         BLOB    NOT NULL,
    kind       TEXT    NOT NULL,
    dedup_key  TEXT,
    payload    BLOB    NOT NULL,
    due_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    last_error TEXT    NOT NULL DEFAULT '',
    failed_at  INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX jobs__dedup_key ON jobs (tenant_id, kind, dedup_key);
CREATE INDEX jobs_due ON jobs (tenant_id, due_at) WHERE failed_at IS NULL;

CREATE TABLE audit_events (
    tenant_id    BLOB    NOT NULL REFERENCES tenants (id),
    at           INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    action       TEXT    NOT NULL,
    outcome      TEXT    NOT NULL,
    actor_kind   TEXT    NOT NULL,
    actor_id     BLOB,
    actor_tenant BLOB,
    actor_name   TEXT    NOT NULL DEFAULT '',
    via          BLOB,
    target_kind  TEXT    NOT NULL DEFAULT '',
    target_id    TEXT    NOT NULL DEFAULT '',
    target_name  TEXT    NOT NULL DEFAULT '',
    address      TEXT    NOT NULL DEFAULT '',
    agent        TEXT    NOT NULL DEFAULT '',
    request_id   TEXT    NOT NULL DEFAULT '',
    detail       TEXT    NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, at, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_events_target ON audit_events (tenant_id, target_id, at, id);
CREATE INDEX audit_events_actor ON audit_events (tenant_id, actor_id, at, id);
-- Append-only, as the grants and policies make it on Postgres.
-- +goose StatementBegin
CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events are append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
WHEN NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = OLD.tenant_id AND t.status = 'deleting')
BEGIN
    SELECT RAISE(ABORT, 'audit events are append-only');
END;
-- +goose StatementEnd

CREATE TABLE access_records (
    tenant_id    BLOB    NOT NULL REFERENCES tenants (id),
    at           INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    action       TEXT    NOT NULL,
    actor_kind   TEXT    NOT NULL,
    actor_id     BLOB,
    actor_name   TEXT    NOT NULL DEFAULT '',
    target_kind  TEXT    NOT NULL DEFAULT '',
    target_id    TEXT    NOT NULL DEFAULT '',
    target_name  TEXT    NOT NULL DEFAULT '',
    address      TEXT    NOT NULL DEFAULT '',
    request_id   TEXT    NOT NULL DEFAULT '',
    detail       TEXT    NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, at, id)
) STRICT, WITHOUT ROWID;
