-- +goose Up

-- What a tenant decides about its engine; no row: the defaults.
CREATE TABLE policy_settings (
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    settings   TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT, WITHOUT ROWID;

-- The one draft of a tenant; no row: it is the same as the revision in force. Every
-- change of a file gives it another version. base is the revision it was begun from.
CREATE TABLE policy_drafts (
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    version    BLOB    NOT NULL,
    base       INTEGER NOT NULL,
    updated_by TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT, WITHOUT ROWID;

-- path_key is the path in lower case: an exported directory must be the same on file
-- systems that do not tell Album.yaml from album.yaml.
CREATE TABLE policy_draft_files (
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    path       TEXT    NOT NULL,
    path_key   TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    content    BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, path),
    FOREIGN KEY (tenant_id) REFERENCES policy_drafts (tenant_id) ON DELETE CASCADE
) STRICT;
CREATE UNIQUE INDEX policy_draft_files__path_key ON policy_draft_files (tenant_id, path_key);

-- Published revisions. origin is the revision that a rollback published again. digest is
-- the SHA-256 of sources, a tar.gz; compiled is Cerbos' rule table as protobuf.
CREATE TABLE policy_revisions (
    tenant_id     BLOB    NOT NULL REFERENCES tenants (id),
    number        INTEGER NOT NULL CHECK (number > 0),
    origin        INTEGER NOT NULL DEFAULT 0,
    reason        TEXT    NOT NULL,
    author_kind   TEXT    NOT NULL,
    author_id     BLOB,
    author_tenant BLOB,
    author_name   TEXT    NOT NULL DEFAULT '',
    created_at    INTEGER NOT NULL,
    files         INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    digest        BLOB    NOT NULL,
    compiled      BLOB    NOT NULL,
    sources       BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, number)
) STRICT;
-- A revision is immutable; it goes with its tenant.
-- +goose StatementBegin
CREATE TRIGGER policy_revisions_no_update BEFORE UPDATE ON policy_revisions
BEGIN
    SELECT RAISE(ABORT, 'a policy revision never changes');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_revisions_no_delete BEFORE DELETE ON policy_revisions
WHEN NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = OLD.tenant_id AND t.status = 'deleting')
BEGIN
    SELECT RAISE(ABORT, 'a policy revision never changes');
END;
-- +goose StatementEnd
