-- +goose Up

-- The slugs and domains of deleted tenants. An issuer is never reassigned (OpenID Connect Core 1.0,
-- section 5.7), so no other tenant gets them. holder is the id of the tenant that is gone,
-- without a foreign key. Rows are added and stay, as the grants make it on Postgres.
CREATE TABLE retired_names (
    name       TEXT    PRIMARY KEY,
    holder     BLOB    NOT NULL,
    retired_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- +goose StatementBegin
CREATE TRIGGER retired_names_no_update BEFORE UPDATE ON retired_names
BEGIN
    SELECT RAISE(ABORT, 'names of deleted tenants stay retired');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER retired_names_no_delete BEFORE DELETE ON retired_names
BEGIN
    SELECT RAISE(ABORT, 'names of deleted tenants stay retired');
END;
-- +goose StatementEnd
