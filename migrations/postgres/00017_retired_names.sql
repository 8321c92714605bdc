-- +goose Up

-- The slugs and domains of deleted tenants. An issuer is never reassigned (OpenID Connect Core 1.0,
-- section 5.7), so no other tenant gets them. holder is the id of the tenant that is gone,
-- without a foreign key. Rows are added and stay.
CREATE TABLE retired_names (
    name       text   PRIMARY KEY,
    holder     uuid   NOT NULL,
    retired_at bigint NOT NULL
);
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON retired_names TO %I', gatehouse_serving_role());
END $$;
-- +goose StatementEnd
