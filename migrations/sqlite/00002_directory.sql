-- +goose Up

-- The *_key columns hold the normalised form that makes a login unique. They and
-- the search terms compare by bytes, SQLite's default collation.
CREATE TABLE users (
    tenant_id      BLOB NOT NULL REFERENCES tenants (id),
    id             BLOB NOT NULL,
    email          TEXT NOT NULL DEFAULT '',
    email_key      TEXT,
    email_verified INTEGER NOT NULL DEFAULT 0,
    username       TEXT NOT NULL DEFAULT '',
    username_key   TEXT,
    status         TEXT NOT NULL CHECK (status IN ('invited', 'active', 'locked', 'deactivated')),
    given_name     TEXT NOT NULL DEFAULT '',
    family_name    TEXT NOT NULL DEFAULT '',
    locale         TEXT NOT NULL DEFAULT '',
    attributes     TEXT NOT NULL DEFAULT '{}',
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    last_sign_in   INTEGER,
    PRIMARY KEY (tenant_id, id),
    CHECK (email_key IS NOT NULL OR username_key IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX users__email_key ON users (tenant_id, email_key);
CREATE UNIQUE INDEX users__username_key ON users (tenant_id, username_key);
CREATE INDEX users_status ON users (tenant_id, status, id);

-- One row for each word a user can be found by: prefix search as a range scan.
CREATE TABLE user_terms (
    tenant_id BLOB NOT NULL REFERENCES tenants (id),
    term      TEXT NOT NULL,
    user_id   BLOB NOT NULL,
    PRIMARY KEY (tenant_id, term, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX user_terms_user ON user_terms (tenant_id, user_id);

CREATE TABLE roles (
    tenant_id   BLOB NOT NULL REFERENCES tenants (id),
    id          BLOB NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    actions     TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX roles__name ON roles (tenant_id, name);

-- A grant is to a user or to an application; role_id is NULL for built-in roles.
CREATE TABLE role_grants (
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
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    CHECK ((user_id IS NULL) <> (application_id IS NULL)),
    CHECK (subject_id = COALESCE(user_id, application_id))
) STRICT, WITHOUT ROWID;
CREATE INDEX role_grants_role ON role_grants (tenant_id, role, subject_id);
CREATE INDEX role_grants_role_id ON role_grants (tenant_id, role_id) WHERE role_id IS NOT NULL;
CREATE INDEX role_grants_user ON role_grants (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX role_grants_application ON role_grants (tenant_id, application_id) WHERE application_id IS NOT NULL;

-- One row a tenant. A change that may leave the tenant with fewer owners writes it first, so that
-- two removals run one after the other.
CREATE TABLE owner_locks (
    tenant_id BLOB PRIMARY KEY REFERENCES tenants (id),
    taken_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE passwords (
    tenant_id  BLOB NOT NULL REFERENCES tenants (id),
    user_id    BLOB NOT NULL,
    hash       TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- last_step is the newest time step (RFC 6238) that was used: none up to it counts again.
CREATE TABLE totp_factors (
    tenant_id    BLOB NOT NULL REFERENCES tenants (id),
    user_id      BLOB NOT NULL,
    secret       BLOB NOT NULL,
    last_step    INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    confirmed_at INTEGER,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_codes (
    tenant_id  BLOB NOT NULL REFERENCES tenants (id),
    user_id    BLOB NOT NULL,
    code_hash  BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER,
    PRIMARY KEY (tenant_id, user_id, code_hash),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- user_id is NULL for a set-up link, which makes the first owner.
CREATE TABLE mailed_links (
    tenant_id  BLOB NOT NULL REFERENCES tenants (id),
    id         BLOB NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('reset', 'verify', 'invite', 'setup')),
    user_id    BLOB,
    email_key  TEXT NOT NULL DEFAULT '',
    token_hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX mailed_links__token_hash ON mailed_links (tenant_id, token_hash);
CREATE INDEX mailed_links_user ON mailed_links (tenant_id, user_id);
CREATE INDEX mailed_links_expiry ON mailed_links (tenant_id, expires_at);

-- subject is a digest: a row tells neither the login nor the address it counts.
CREATE TABLE attempt_counters (
    tenant_id  BLOB NOT NULL REFERENCES tenants (id),
    subject    TEXT NOT NULL,
    failures   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_counters_expiry ON attempt_counters (tenant_id, expires_at);
