-- +goose Up

-- The APIs of a tenant; see internal/iam/resourceserver. scopes is a JSON array of names and
-- descriptions, never queried. token_lifetime is in seconds; 0 means the application's.
CREATE TABLE resource_servers (
    tenant_id      uuid    NOT NULL REFERENCES tenants (id),
    id             uuid    NOT NULL,
    identifier     text    NOT NULL COLLATE "C",
    name           text    NOT NULL,
    scopes         text    NOT NULL,
    token_profile  text    NOT NULL CHECK (token_profile IN ('at+jwt', 'jwt', 'opaque')),
    token_lifetime integer NOT NULL,
    signing_alg    text    NOT NULL CHECK (signing_alg IN ('ES256', 'RS256', 'EdDSA')),
    access         text    NOT NULL CHECK (access IN ('any', 'listed')),
    created_at     bigint  NOT NULL,
    updated_at     bigint  NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX resource_servers__identifier ON resource_servers (tenant_id, identifier);
SELECT gatehouse_protect('resource_servers');

-- The applications that may ask for an API's tokens, and those that are the API.
CREATE TABLE resource_server_applications (
    tenant_id          uuid NOT NULL REFERENCES tenants (id),
    resource_server_id uuid NOT NULL,
    application_id     uuid NOT NULL,
    part               text NOT NULL CHECK (part IN ('asks', 'serves')),
    PRIMARY KEY (tenant_id, resource_server_id, part, application_id),
    FOREIGN KEY (tenant_id, resource_server_id) REFERENCES resource_servers (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX resource_server_applications_application ON resource_server_applications (tenant_id, application_id, part);
SELECT gatehouse_protect('resource_server_applications');
