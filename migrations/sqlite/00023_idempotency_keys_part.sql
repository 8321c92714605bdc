-- +goose Up

-- A new idempotency key is counted with the keys of its part: a range of id. The index has all that
-- counting reads, so that it does not read the stored answers.
CREATE INDEX idempotency_keys_part ON idempotency_keys (tenant_id, id, caller, expires_at);
DROP INDEX idempotency_keys_caller;
