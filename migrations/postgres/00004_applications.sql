-- +goose Up

-- The lists are JSON arrays of text, never queried. previous_secret_hash is accepted
-- until previous_secret_until, so that a secret can be changed without an outage.
-- Lifetimes are seconds.
CREATE TABLE applications (
    tenant_id                 uuid    NOT NULL REFERENCES tenants (id),
    id                        uuid    NOT NULL,
    client_id                 text    NOT NULL COLLATE "C",
    name                      text    NOT NULL,
    type                      text    NOT NULL CHECK (type IN ('web', 'spa', 'native', 'machine')),
    status                    text    NOT NULL CHECK (status IN ('active', 'disabled')),
    auth_method               text    NOT NULL CHECK (auth_method IN ('none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt')),
    secret_hash               bytea,
    previous_secret_hash      bytea,
    previous_secret_until     bigint,
    redirect_uris             text    NOT NULL DEFAULT '[]',
    post_logout_redirect_uris text    NOT NULL DEFAULT '[]',
    scopes                    text    NOT NULL DEFAULT '[]',
    access_token              text    NOT NULL CHECK (access_token IN ('jwt', 'opaque')),
    id_token_alg              text    NOT NULL CHECK (id_token_alg IN ('ES256', 'RS256', 'EdDSA')),
    jwks                      text    NOT NULL DEFAULT '',
    first_party               boolean NOT NULL DEFAULT false,
    rotation                  boolean NOT NULL DEFAULT true,
    access_token_lifetime     integer NOT NULL,
    id_token_lifetime         integer NOT NULL,
    refresh_token_idle        integer NOT NULL,
    refresh_token_max         integer NOT NULL,
    created_at                bigint  NOT NULL,
    updated_at                bigint  NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX applications__client_id ON applications (tenant_id, client_id);
SELECT gatehouse_protect('applications');

-- An application's roles end with it. Adding the key reads the rows of both tables as their owner,
-- which row-level security binds too while it is forced. See migrations.go.
ALTER TABLE role_grants NO FORCE ROW LEVEL SECURITY;
ALTER TABLE applications NO FORCE ROW LEVEL SECURITY;
ALTER TABLE role_grants ADD CONSTRAINT role_grants_application_fkey
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE role_grants FORCE ROW LEVEL SECURITY;
ALTER TABLE applications FORCE ROW LEVEL SECURITY;
