-- +goose Up

CREATE TABLE signing_keys (
    tenant_id    BLOB   NOT NULL REFERENCES tenants (id),
    kid          TEXT   NOT NULL,
    alg          TEXT   NOT NULL,
    status       TEXT   NOT NULL CHECK (status IN ('next', 'current', 'retired')),
    sealed       BLOB   NOT NULL,
    created_at   INTEGER NOT NULL,
    activated_at INTEGER,
    retired_at   INTEGER,
    PRIMARY KEY (tenant_id, kid)
) STRICT, WITHOUT ROWID;
-- One key signs, and one waits to: two replicas that make them at once agree here.
CREATE UNIQUE INDEX signing_keys__current ON signing_keys (tenant_id, alg) WHERE status = 'current';
CREATE UNIQUE INDEX signing_keys__next ON signing_keys (tenant_id, alg) WHERE status = 'next';

CREATE TABLE consents (
    tenant_id      BLOB   NOT NULL REFERENCES tenants (id),
    user_id        BLOB   NOT NULL,
    application_id BLOB   NOT NULL,
    scopes         TEXT   NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id, application_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX consents_application ON consents (tenant_id, application_id);

-- What an application holds of a user: the root of its code, refresh family and
-- access tokens. session_id outlives its session on purpose: a grant whose session
-- row is gone counts only if it is offline.
CREATE TABLE grants (
    tenant_id      BLOB    NOT NULL REFERENCES tenants (id),
    id             BLOB    NOT NULL,
    application_id BLOB    NOT NULL,
    user_id        BLOB    NOT NULL,
    session_id     BLOB,
    offline        INTEGER NOT NULL,
    scopes         TEXT    NOT NULL,
    claims         TEXT    NOT NULL DEFAULT '',
    nonce          TEXT    NOT NULL DEFAULT '',
    auth_time      INTEGER  NOT NULL,
    amr            TEXT    NOT NULL DEFAULT '',
    acr            TEXT    NOT NULL DEFAULT '',
    created_at     INTEGER  NOT NULL,
    expires_at     INTEGER  NOT NULL,
    revoked_at     INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_user ON grants (tenant_id, user_id);
CREATE INDEX grants_application ON grants (tenant_id, application_id);
CREATE INDEX grants_expiry ON grants (tenant_id, expires_at);

CREATE TABLE authorization_codes (
    tenant_id      BLOB   NOT NULL REFERENCES tenants (id),
    code_hash      BLOB   NOT NULL,
    grant_id       BLOB   NOT NULL,
    redirect_uri   TEXT   NOT NULL,
    code_challenge TEXT   NOT NULL DEFAULT '',
    expires_at     INTEGER NOT NULL,
    used_at        INTEGER,
    PRIMARY KEY (tenant_id, code_hash),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX authorization_codes_grant ON authorization_codes (tenant_id, grant_id);

-- key_id is the ring key that the successor is derived with, so that it comes out
-- the same when the token is shown again within the grace.
CREATE TABLE refresh_tokens (
    tenant_id  BLOB   NOT NULL REFERENCES tenants (id),
    token_hash BLOB   NOT NULL,
    grant_id   BLOB   NOT NULL,
    parent     BLOB ,
    key_id     TEXT   NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    rotated_at INTEGER,
    PRIMARY KEY (tenant_id, token_hash),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_grant ON refresh_tokens (tenant_id, grant_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (tenant_id, expires_at);

-- Opaque access tokens; grant_id and user_id are NULL for a machine's own.
CREATE TABLE access_tokens (
    tenant_id      BLOB   NOT NULL REFERENCES tenants (id),
    token_hash     BLOB   NOT NULL,
    id             BLOB   NOT NULL,
    application_id BLOB   NOT NULL,
    grant_id       BLOB,
    scopes         TEXT   NOT NULL,
    audience       TEXT   NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    revoked_at     INTEGER,
    PRIMARY KEY (tenant_id, token_hash),
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX access_tokens_application ON access_tokens (tenant_id, application_id);
CREATE INDEX access_tokens_grant ON access_tokens (tenant_id, grant_id) WHERE grant_id IS NOT NULL;
CREATE INDEX access_tokens_expiry ON access_tokens (tenant_id, expires_at);

-- JWT ids that may not be seen (again): of client assertions, by issuer, and of
-- access tokens that were revoked, with the issuer ''.
CREATE TABLE used_jtis (
    tenant_id  BLOB   NOT NULL REFERENCES tenants (id),
    issuer     TEXT   NOT NULL,
    jti        TEXT   NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, issuer, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX used_jtis_expiry ON used_jtis (tenant_id, expires_at);
