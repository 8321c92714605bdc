-- +goose Up

-- Invitations to become a user. inviter_* names the inviter as audit events name an actor. roles
-- and group_ids are JSON. lifetime is in seconds, for the next link. An address has at most one
-- open invitation, also when that has expired. At kept_until, housekeeping deletes the row.
CREATE TABLE invitations (
    tenant_id      BLOB   NOT NULL REFERENCES tenants (id),
    id             BLOB   NOT NULL,
    email          TEXT   NOT NULL,
    email_key      TEXT   NOT NULL,
    given_name     TEXT   NOT NULL DEFAULT '',
    family_name    TEXT   NOT NULL DEFAULT '',
    locale         TEXT   NOT NULL DEFAULT '',
    roles          TEXT   NOT NULL DEFAULT '[]',
    group_ids      TEXT   NOT NULL DEFAULT '[]',
    inviter_kind   TEXT   NOT NULL,
    inviter_id     BLOB,
    inviter_tenant BLOB,
    inviter_name   TEXT   NOT NULL DEFAULT '',
    token_hash     BLOB   NOT NULL,
    lifetime       INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    accepted_at    INTEGER,
    withdrawn_at   INTEGER,
    user_id        BLOB,
    kept_until     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX invitations_token ON invitations (tenant_id, token_hash);
CREATE UNIQUE INDEX invitations_open ON invitations (tenant_id, email_key)
    WHERE accepted_at IS NULL AND withdrawn_at IS NULL;
CREATE INDEX invitations_email ON invitations (tenant_id, email_key);
CREATE INDEX invitations_user ON invitations (tenant_id, user_id);
CREATE INDEX invitations_kept ON invitations (tenant_id, kept_until);
