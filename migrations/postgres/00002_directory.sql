-- +goose Up

-- The *_key columns hold the normalised form that makes a login unique. They and
-- the search terms compare by bytes (COLLATE "C"), as on SQLite.
CREATE TABLE users (
    tenant_id      uuid    NOT NULL REFERENCES tenants (id),
    id             uuid    NOT NULL,
    email          text    NOT NULL DEFAULT '',
    email_key      text    COLLATE "C",
    email_verified boolean NOT NULL DEFAULT false,
    username       text    NOT NULL DEFAULT '',
    username_key   text    COLLATE "C",
    status         text    NOT NULL CHECK (status IN ('invited', 'active', 'locked', 'deactivated')),
    given_name     text    NOT NULL DEFAULT '',
    family_name    text    NOT NULL DEFAULT '',
    locale         text    NOT NULL DEFAULT '',
    attributes     text    NOT NULL DEFAULT '{}',
    created_at     bigint  NOT NULL,
    updated_at     bigint  NOT NULL,
    last_sign_in   bigint,
    PRIMARY KEY (tenant_id, id),
    CHECK (email_key IS NOT NULL OR username_key IS NOT NULL)
);
CREATE UNIQUE INDEX users__email_key ON users (tenant_id, email_key);
CREATE UNIQUE INDEX users__username_key ON users (tenant_id, username_key);
CREATE INDEX users_status ON users (tenant_id, status, id);
SELECT gatehouse_protect('users');

-- One row for each word a user can be found by: prefix search as a range scan,
-- because LIKE cannot use an index under row-level security.
CREATE TABLE user_terms (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    term      text NOT NULL COLLATE "C",
    user_id   uuid NOT NULL,
    PRIMARY KEY (tenant_id, term, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX user_terms_user ON user_terms (tenant_id, user_id);
SELECT gatehouse_protect('user_terms');

CREATE TABLE roles (
    tenant_id   uuid   NOT NULL REFERENCES tenants (id),
    id          uuid   NOT NULL,
    name        text   NOT NULL COLLATE "C",
    description text   NOT NULL DEFAULT '',
    actions     text   NOT NULL,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX roles__name ON roles (tenant_id, name);
SELECT gatehouse_protect('roles');

-- A grant is to a user or to an application; role_id is NULL for built-in roles.
CREATE TABLE role_grants (
    tenant_id      uuid   NOT NULL REFERENCES tenants (id),
    subject_id     uuid   NOT NULL,
    role           text   NOT NULL COLLATE "C",
    role_id        uuid,
    user_id        uuid,
    application_id uuid,
    until          bigint,
    granted_at     bigint NOT NULL,
    PRIMARY KEY (tenant_id, subject_id, role),
    FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    CHECK ((user_id IS NULL) <> (application_id IS NULL)),
    CHECK (subject_id = COALESCE(user_id, application_id))
);
CREATE INDEX role_grants_role ON role_grants (tenant_id, role, subject_id);
CREATE INDEX role_grants_role_id ON role_grants (tenant_id, role_id) WHERE role_id IS NOT NULL;
CREATE INDEX role_grants_user ON role_grants (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX role_grants_application ON role_grants (tenant_id, application_id) WHERE application_id IS NOT NULL;
SELECT gatehouse_protect('role_grants');

-- One row a tenant. A change that may leave the tenant with fewer owners writes it first, so that
-- two removals run one after the other.
CREATE TABLE owner_locks (
    tenant_id uuid   PRIMARY KEY REFERENCES tenants (id),
    taken_at  bigint NOT NULL
);
SELECT gatehouse_protect('owner_locks');

CREATE TABLE passwords (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    user_id    uuid   NOT NULL,
    hash       text   NOT NULL,
    changed_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
SELECT gatehouse_protect('passwords');

-- last_step is the newest time step (RFC 6238) that was used: none up to it counts again.
CREATE TABLE totp_factors (
    tenant_id    uuid   NOT NULL REFERENCES tenants (id),
    user_id      uuid   NOT NULL,
    secret       bytea  NOT NULL,
    last_step    bigint NOT NULL DEFAULT 0,
    created_at   bigint NOT NULL,
    confirmed_at bigint,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
SELECT gatehouse_protect('totp_factors');

CREATE TABLE recovery_codes (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    user_id    uuid   NOT NULL,
    code_hash  bytea  NOT NULL,
    created_at bigint NOT NULL,
    used_at    bigint,
    PRIMARY KEY (tenant_id, user_id, code_hash),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
SELECT gatehouse_protect('recovery_codes');

-- user_id is NULL for a set-up link, which makes the first owner.
CREATE TABLE mailed_links (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    id         uuid   NOT NULL,
    kind       text   NOT NULL CHECK (kind IN ('reset', 'verify', 'invite', 'setup')),
    user_id    uuid,
    email_key  text   NOT NULL DEFAULT '' COLLATE "C",
    token_hash bytea  NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    used_at    bigint,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX mailed_links__token_hash ON mailed_links (tenant_id, token_hash);
CREATE INDEX mailed_links_user ON mailed_links (tenant_id, user_id);
CREATE INDEX mailed_links_expiry ON mailed_links (tenant_id, expires_at);
SELECT gatehouse_protect('mailed_links');

-- subject is a digest: a row tells neither the login nor the address it counts.
CREATE TABLE attempt_counters (
    tenant_id  uuid    NOT NULL REFERENCES tenants (id),
    subject    text    NOT NULL COLLATE "C",
    failures   integer NOT NULL,
    last_at    bigint  NOT NULL,
    expires_at bigint  NOT NULL,
    PRIMARY KEY (tenant_id, subject)
);
CREATE INDEX attempt_counters_expiry ON attempt_counters (tenant_id, expires_at);
SELECT gatehouse_protect('attempt_counters');
