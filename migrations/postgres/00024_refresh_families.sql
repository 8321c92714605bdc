-- +goose NO TRANSACTION
-- +goose Up

-- A family of refresh tokens is one row. family names it, rotations counts how often its token was
-- replaced, and token_hash, key_id and created_at are those of the token now. NULL and 0 in a row
-- of the release before, which has one row for each token and closes it by rotated_at.
ALTER TABLE refresh_tokens ADD COLUMN IF NOT EXISTS family bigint;
ALTER TABLE refresh_tokens ADD COLUMN IF NOT EXISTS rotations bigint NOT NULL DEFAULT 0;
DROP INDEX CONCURRENTLY IF EXISTS refresh_tokens_family;
CREATE UNIQUE INDEX CONCURRENTLY refresh_tokens_family ON refresh_tokens (tenant_id, family) WHERE family IS NOT NULL;

-- A family goes with its grant, so only closed rows are looked for by their end. A rotation does
-- not move them.
DROP INDEX CONCURRENTLY IF EXISTS refresh_tokens_closed;
CREATE INDEX CONCURRENTLY refresh_tokens_closed ON refresh_tokens (tenant_id, expires_at) WHERE rotated_at IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS refresh_tokens_expiry;
