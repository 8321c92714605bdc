-- +goose Up

-- The claims that an application is told as CEL expressions, as JSON.
ALTER TABLE applications ADD COLUMN mappings text NOT NULL DEFAULT '[]';
