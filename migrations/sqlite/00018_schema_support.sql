-- +goose Up

-- The number of the oldest schema whose binaries can serve this one. A step that takes away what
-- they use raises it, in the same file.
CREATE TABLE schema_support (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    oldest INTEGER NOT NULL
) STRICT;
INSERT INTO schema_support (id, oldest) VALUES (1, 18);
