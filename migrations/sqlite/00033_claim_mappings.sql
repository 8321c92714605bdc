-- +goose Up

-- The claims that an application is told as CEL expressions, as JSON.
ALTER TABLE applications ADD COLUMN mappings TEXT NOT NULL DEFAULT '[]';
