-- +goose Up

-- The calls that had an Idempotency-Key, with their answers, for a day; see internal/kit/api. id is
-- the SHA-256 of caller, operation and key. request and answer are sealed. answer is empty while
-- the call runs.
CREATE TABLE idempotency_keys (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    id         bytea  NOT NULL,
    caller     bytea  NOT NULL,
    claim      uuid   NOT NULL,
    request    bytea  NOT NULL,
    answer     bytea  NOT NULL DEFAULT '',
    claimed_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX idempotency_keys_caller ON idempotency_keys (tenant_id, caller, expires_at);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (tenant_id, expires_at);
SELECT gatehouse_protect('idempotency_keys');
