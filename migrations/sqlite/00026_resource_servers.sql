-- +goose Up

-- The APIs of a tenant; see internal/iam/resourceserver. scopes is a JSON array of names and
-- descriptions, never queried. token_lifetime is in seconds; 0 means the application's.
CREATE TABLE resource_servers (
    tenant_id      BLOB    NOT NULL REFERENCES tenants (id),
    id             BLOB    NOT NULL,
    identifier     TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    scopes         TEXT    NOT NULL,
    token_profile  TEXT    NOT NULL CHECK (token_profile IN ('at+jwt', 'jwt', 'opaque')),
    token_lifetime INTEGER NOT NULL,
    signing_alg    TEXT    NOT NULL CHECK (signing_alg IN ('ES256', 'RS256', 'EdDSA')),
    access         TEXT    NOT NULL CHECK (access IN ('any', 'listed')),
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX resource_servers__identifier ON resource_servers (tenant_id, identifier);

-- The applications that may ask for an API's tokens, and those that are the API.
CREATE TABLE resource_server_applications (
    tenant_id          BLOB NOT NULL REFERENCES tenants (id),
    resource_server_id BLOB NOT NULL,
    application_id     BLOB NOT NULL,
    part               TEXT NOT NULL CHECK (part IN ('asks', 'serves')),
    PRIMARY KEY (tenant_id, resource_server_id, part, application_id),
    FOREIGN KEY (tenant_id, resource_server_id) REFERENCES resource_servers (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX resource_server_applications_application ON resource_server_applications (tenant_id, application_id, part);
