-- +goose Up

-- Deletion is final, as on Postgres. SQLite has no roles.
-- +goose StatementBegin
CREATE TRIGGER tenants_deletion_is_final BEFORE UPDATE ON tenants
WHEN OLD.status = 'deleting' AND (NEW.status <> 'deleting' OR NEW.id <> OLD.id)
BEGIN
    SELECT RAISE(ABORT, 'a tenant that is being deleted stays so');
END;
-- +goose StatementEnd
