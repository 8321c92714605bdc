-- +goose Up

-- The calls that had an Idempotency-Key, with their answers, for a day; see internal/kit/api. id is
-- the SHA-256 of caller, operation and key. request and answer are sealed. answer is empty while
-- the call runs.
CREATE TABLE idempotency_keys (
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    id         BLOB    NOT NULL,
    caller     BLOB    NOT NULL,
    claim      BLOB    NOT NULL,
    request    BLOB    NOT NULL,
    answer     BLOB    NOT NULL DEFAULT x'',
    claimed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_caller ON idempotency_keys (tenant_id, caller, expires_at);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (tenant_id, expires_at);
