-- +goose Up

-- Whether people may sign in to an application on a device, by a code (RFC 8628).
ALTER TABLE applications ADD COLUMN device_authorization boolean NOT NULL DEFAULT false;

-- The requests of devices for access. user_code is what the person types. It is not a
-- secret: only a signed-in person who allows the request makes it count, and only code_hash redeems
-- it. wait is the least time between two polls. grant_id is set when the person allowed it.
CREATE TABLE device_authorizations (
    tenant_id      uuid   NOT NULL REFERENCES tenants (id),
    id             uuid   NOT NULL,
    code_hash      bytea  NOT NULL,
    user_code      text   NOT NULL,
    application_id uuid   NOT NULL,
    scopes         text   NOT NULL,
    resources      text   NOT NULL DEFAULT '',
    address        text   NOT NULL DEFAULT '',
    agent          text   NOT NULL DEFAULT '',
    status         text   NOT NULL DEFAULT 'pending',
    grant_id       uuid,
    wait           bigint NOT NULL,
    polled_at      bigint,
    created_at     bigint NOT NULL,
    expires_at     bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX device_authorizations_code ON device_authorizations (tenant_id, code_hash);
CREATE UNIQUE INDEX device_authorizations_user_code ON device_authorizations (tenant_id, user_code);
CREATE INDEX device_authorizations_expiry ON device_authorizations (tenant_id, expires_at);
CREATE INDEX device_authorizations_application ON device_authorizations (tenant_id, application_id, expires_at);
CREATE INDEX device_authorizations_grant ON device_authorizations (tenant_id, grant_id);
SELECT gatehouse_protect('device_authorizations');
