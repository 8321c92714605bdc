-- +goose Up

-- What a tenant decides about its engine; no row: the defaults.
CREATE TABLE policy_settings (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    settings   text   NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT gatehouse_protect('policy_settings');

-- The one draft of a tenant; no row: it is the same as the revision in force. Every
-- change of a file gives it another version. base is the revision it was begun from.
CREATE TABLE policy_drafts (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    version    uuid   NOT NULL,
    base       bigint NOT NULL,
    updated_by text   NOT NULL DEFAULT '',
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT gatehouse_protect('policy_drafts');

-- path_key is the path in lower case: an exported directory must be the same on file
-- systems that do not tell Album.yaml from album.yaml.
CREATE TABLE policy_draft_files (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    path       text   NOT NULL COLLATE "C",
    path_key   text   NOT NULL COLLATE "C",
    updated_at bigint NOT NULL,
    content    bytea  NOT NULL,
    PRIMARY KEY (tenant_id, path),
    FOREIGN KEY (tenant_id) REFERENCES policy_drafts (tenant_id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX policy_draft_files__path_key ON policy_draft_files (tenant_id, path_key);
SELECT gatehouse_protect('policy_draft_files');

-- Published revisions. origin is the revision that a rollback published again. digest is
-- the SHA-256 of sources, a tar.gz; compiled is Cerbos' rule table as protobuf.
CREATE TABLE policy_revisions (
    tenant_id     uuid    NOT NULL REFERENCES tenants (id),
    number        bigint  NOT NULL CHECK (number > 0),
    origin        bigint  NOT NULL DEFAULT 0,
    reason        text    NOT NULL,
    author_kind   text    NOT NULL,
    author_id     uuid,
    author_tenant uuid,
    author_name   text    NOT NULL DEFAULT '',
    created_at    bigint  NOT NULL,
    files         bigint  NOT NULL,
    bytes         bigint  NOT NULL,
    digest        bytea   NOT NULL,
    compiled      bytea   NOT NULL,
    sources       bytea   NOT NULL,
    PRIMARY KEY (tenant_id, number)
);
SELECT gatehouse_protect('policy_revisions');
-- A revision is immutable; it goes with its tenant.
REVOKE UPDATE ON policy_revisions FROM gatehouse_app;
CREATE POLICY erase_with_tenant ON policy_revisions AS RESTRICTIVE FOR DELETE
    USING (EXISTS (SELECT FROM tenants t WHERE t.id = tenant_id AND t.status = 'deleting'));
