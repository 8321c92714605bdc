-- +goose Up

-- Invitations to become a user. inviter_* names the inviter as audit events name an actor. roles
-- and group_ids are JSON. lifetime is in seconds, for the next link. An address has at most one
-- open invitation, also when that has expired. At kept_until, housekeeping deletes the row.
CREATE TABLE invitations (
    tenant_id      uuid   NOT NULL REFERENCES tenants (id),
    id             uuid   NOT NULL,
    email          text   NOT NULL,
    email_key      text   NOT NULL,
    given_name     text   NOT NULL DEFAULT '',
    family_name    text   NOT NULL DEFAULT '',
    locale         text   NOT NULL DEFAULT '',
    roles          text   NOT NULL DEFAULT '[]',
    group_ids      text   NOT NULL DEFAULT '[]',
    inviter_kind   text   NOT NULL,
    inviter_id     uuid,
    inviter_tenant uuid,
    inviter_name   text   NOT NULL DEFAULT '',
    token_hash     bytea  NOT NULL,
    lifetime       bigint NOT NULL,
    created_at     bigint NOT NULL,
    expires_at     bigint NOT NULL,
    accepted_at    bigint,
    withdrawn_at   bigint,
    user_id        uuid,
    kept_until     bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX invitations_token ON invitations (tenant_id, token_hash);
CREATE UNIQUE INDEX invitations_open ON invitations (tenant_id, email_key)
    WHERE accepted_at IS NULL AND withdrawn_at IS NULL;
CREATE INDEX invitations_email ON invitations (tenant_id, email_key);
CREATE INDEX invitations_user ON invitations (tenant_id, user_id);
CREATE INDEX invitations_kept ON invitations (tenant_id, kept_until);
SELECT gatehouse_protect('invitations');
