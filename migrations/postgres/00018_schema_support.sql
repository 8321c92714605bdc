-- +goose Up

-- The number of the oldest schema whose binaries can serve this one. A step that takes away what
-- they use raises it, in the same file.
CREATE TABLE schema_support (
    id     integer PRIMARY KEY CHECK (id = 1),
    oldest bigint  NOT NULL
);
INSERT INTO schema_support (id, oldest) VALUES (1, 18);
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('GRANT SELECT ON schema_support TO %I', gatehouse_serving_role());
END $$;
-- +goose StatementEnd
