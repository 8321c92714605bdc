-- +goose Up

-- Whether people may sign in to an application on a device, by a code (RFC 8628).
ALTER TABLE applications ADD COLUMN device_authorization INTEGER NOT NULL DEFAULT 0;

-- The requests of devices for access. user_code is what the person types. It is not a
-- secret: only a signed-in person who allows the request makes it count, and only code_hash redeems
-- it. wait is the least time between two polls. grant_id is set when the person allowed it.
CREATE TABLE device_authorizations (
    tenant_id      BLOB NOT NULL REFERENCES tenants (id),
    id             BLOB NOT NULL,
    code_hash      BLOB NOT NULL,
    user_code      TEXT NOT NULL,
    application_id BLOB NOT NULL,
    scopes         TEXT NOT NULL,
    resources      TEXT NOT NULL DEFAULT '',
    address        TEXT NOT NULL DEFAULT '',
    agent          TEXT NOT NULL DEFAULT '',
    status         TEXT NOT NULL DEFAULT 'pending',
    grant_id       BLOB,
    wait           INTEGER NOT NULL,
    polled_at      INTEGER,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX device_authorizations_code ON device_authorizations (tenant_id, code_hash);
CREATE UNIQUE INDEX device_authorizations_user_code ON device_authorizations (tenant_id, user_code);
CREATE INDEX device_authorizations_expiry ON device_authorizations (tenant_id, expires_at);
CREATE INDEX device_authorizations_application ON device_authorizations (tenant_id, application_id, expires_at);
CREATE INDEX device_authorizations_grant ON device_authorizations (tenant_id, grant_id);
