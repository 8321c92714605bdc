-- +goose Up

-- The identifier of the API whose tokens an application gets if its request names none, '' for the
-- tenant itself. It may name an API that was deleted since: then it gets none.
ALTER TABLE applications ADD COLUMN default_api text NOT NULL DEFAULT '';
