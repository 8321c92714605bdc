-- +goose Up

CREATE TABLE signing_keys (
    tenant_id    uuid   NOT NULL REFERENCES tenants (id),
    kid          text   NOT NULL COLLATE "C",
    alg          text   NOT NULL,
    status       text   NOT NULL CHECK (status IN ('next', 'current', 'retired')),
    sealed       bytea  NOT NULL,
    created_at   bigint NOT NULL,
    activated_at bigint,
    retired_at   bigint,
    PRIMARY KEY (tenant_id, kid)
);
-- One key signs, and one waits to: two replicas that make them at once agree here.
CREATE UNIQUE INDEX signing_keys__current ON signing_keys (tenant_id, alg) WHERE status = 'current';
CREATE UNIQUE INDEX signing_keys__next ON signing_keys (tenant_id, alg) WHERE status = 'next';
SELECT gatehouse_protect('signing_keys');

CREATE TABLE consents (
    tenant_id      uuid   NOT NULL REFERENCES tenants (id),
    user_id        uuid   NOT NULL,
    application_id uuid   NOT NULL,
    scopes         text   NOT NULL,
    updated_at     bigint NOT NULL,
    PRIMARY KEY (tenant_id, user_id, application_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX consents_application ON consents (tenant_id, application_id);
SELECT gatehouse_protect('consents');

-- What an application holds of a user: the root of its code, refresh family and
-- access tokens. session_id outlives its session on purpose: a grant whose session
-- row is gone counts only if it is offline.
CREATE TABLE grants (
    tenant_id      uuid    NOT NULL REFERENCES tenants (id),
    id             uuid    NOT NULL,
    application_id uuid    NOT NULL,
    user_id        uuid    NOT NULL,
    session_id     uuid,
    offline        boolean NOT NULL,
    scopes         text    NOT NULL,
    claims         text    NOT NULL DEFAULT '',
    nonce          text    NOT NULL DEFAULT '',
    auth_time      bigint  NOT NULL,
    amr            text    NOT NULL DEFAULT '',
    acr            text    NOT NULL DEFAULT '',
    created_at     bigint  NOT NULL,
    expires_at     bigint  NOT NULL,
    revoked_at     bigint,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX grants_user ON grants (tenant_id, user_id);
CREATE INDEX grants_application ON grants (tenant_id, application_id);
CREATE INDEX grants_expiry ON grants (tenant_id, expires_at);
SELECT gatehouse_protect('grants');

CREATE TABLE authorization_codes (
    tenant_id      uuid   NOT NULL REFERENCES tenants (id),
    code_hash      bytea  NOT NULL,
    grant_id       uuid   NOT NULL,
    redirect_uri   text   NOT NULL,
    code_challenge text   NOT NULL DEFAULT '',
    expires_at     bigint NOT NULL,
    used_at        bigint,
    PRIMARY KEY (tenant_id, code_hash),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX authorization_codes_grant ON authorization_codes (tenant_id, grant_id);
SELECT gatehouse_protect('authorization_codes');

-- key_id is the ring key that the successor is derived with, so that it comes out
-- the same when the token is shown again within the grace.
CREATE TABLE refresh_tokens (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    token_hash bytea  NOT NULL,
    grant_id   uuid   NOT NULL,
    parent     bytea,
    key_id     text   NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    rotated_at bigint,
    PRIMARY KEY (tenant_id, token_hash),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_grant ON refresh_tokens (tenant_id, grant_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (tenant_id, expires_at);
SELECT gatehouse_protect('refresh_tokens');

-- Opaque access tokens; grant_id and user_id are NULL for a machine's own.
CREATE TABLE access_tokens (
    tenant_id      uuid   NOT NULL REFERENCES tenants (id),
    token_hash     bytea  NOT NULL,
    id             uuid   NOT NULL,
    application_id uuid   NOT NULL,
    grant_id       uuid,
    scopes         text   NOT NULL,
    audience       text   NOT NULL,
    created_at     bigint NOT NULL,
    expires_at     bigint NOT NULL,
    revoked_at     bigint,
    PRIMARY KEY (tenant_id, token_hash),
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX access_tokens_application ON access_tokens (tenant_id, application_id);
CREATE INDEX access_tokens_grant ON access_tokens (tenant_id, grant_id) WHERE grant_id IS NOT NULL;
CREATE INDEX access_tokens_expiry ON access_tokens (tenant_id, expires_at);
SELECT gatehouse_protect('access_tokens');

-- JWT ids that may not be seen (again): of client assertions, by issuer, and of
-- access tokens that were revoked, with the issuer ''.
CREATE TABLE used_jtis (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    issuer     text   NOT NULL COLLATE "C",
    jti        text   NOT NULL COLLATE "C",
    expires_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, issuer, jti)
);
CREATE INDEX used_jtis_expiry ON used_jtis (tenant_id, expires_at);
SELECT gatehouse_protect('used_jtis');
