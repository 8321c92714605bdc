-- +goose Up

-- 1 for a hash of another system, or of older parameters. It takes another time to verify than our
-- own (credential.DefaultParams), so refusals take the same time while a tenant has one. The index
-- finds the greatest of a tenant at once.
ALTER TABLE passwords ADD COLUMN imported bigint
    GENERATED ALWAYS AS (CASE WHEN substr(hash, 1, 31) = '$argon2id$v=19$m=19456,t=2,p=1$' THEN 0 ELSE 1 END) STORED;
CREATE INDEX passwords_imported ON passwords (tenant_id, imported);
