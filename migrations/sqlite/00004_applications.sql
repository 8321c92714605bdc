-- +goose Up

-- The lists are JSON arrays of text, never queried. previous_secret_hash is accepted
-- until previous_secret_until, so that a secret can be changed without an outage.
-- Lifetimes are seconds.
CREATE TABLE applications (
    tenant_id                 BLOB    NOT NULL REFERENCES tenants (id),
    id                        BLOB    NOT NULL,
    client_id                 TEXT    NOT NULL,
    name                      TEXT    NOT NULL,
    type                      TEXT    NOT NULL CHECK (type IN ('web', 'spa', 'native', 'machine')),
    status                    TEXT    NOT NULL CHECK (status IN ('active', 'disabled')),
    auth_method               TEXT    NOT NULL CHECK (auth_method IN ('none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt')),
    secret_hash               BLOB,
    previous_secret_hash      BLOB,
    previous_secret_until     INTEGER,
    redirect_uris             TEXT    NOT NULL DEFAULT '[]',
    post_logout_redirect_uris TEXT    NOT NULL DEFAULT '[]',
    scopes                    TEXT    NOT NULL DEFAULT '[]',
    access_token              TEXT    NOT NULL CHECK (access_token IN ('jwt', 'opaque')),
    id_token_alg              TEXT    NOT NULL CHECK (id_token_alg IN ('ES256', 'RS256', 'EdDSA')),
    jwks                      TEXT    NOT NULL DEFAULT '',
    first_party               INTEGER NOT NULL DEFAULT 0,
    rotation                  INTEGER NOT NULL DEFAULT 1,
    access_token_lifetime     INTEGER NOT NULL,
    id_token_lifetime         INTEGER NOT NULL,
    refresh_token_idle        INTEGER NOT NULL,
    refresh_token_max         INTEGER NOT NULL,
    created_at                INTEGER  NOT NULL,
    updated_at                INTEGER  NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX applications__client_id ON applications (tenant_id, client_id);

-- An application's roles end with it. SQLite cannot add a constraint to a table, so it is created
-- again.
CREATE TABLE role_grants_new (
    tenant_id      BLOB NOT NULL REFERENCES tenants (id),
    subject_id     BLOB NOT NULL,
    role           TEXT NOT NULL,
    role_id        BLOB,
    user_id        BLOB,
    application_id BLOB,
    until          INTEGER,
    granted_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, subject_id, role),
    FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    CHECK ((user_id IS NULL) <> (application_id IS NULL)),
    CHECK (subject_id = COALESCE(user_id, application_id))
) STRICT, WITHOUT ROWID;
INSERT INTO role_grants_new (tenant_id, subject_id, role, role_id, user_id, application_id, until, granted_at)
    SELECT tenant_id, subject_id, role, role_id, user_id, application_id, until, granted_at FROM role_grants;
DROP TABLE role_grants;
ALTER TABLE role_grants_new RENAME TO role_grants;
CREATE INDEX role_grants_role ON role_grants (tenant_id, role, subject_id);
CREATE INDEX role_grants_role_id ON role_grants (tenant_id, role_id) WHERE role_id IS NOT NULL;
CREATE INDEX role_grants_user ON role_grants (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX role_grants_application ON role_grants (tenant_id, application_id) WHERE application_id IS NOT NULL;
