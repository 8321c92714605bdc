-- +goose Up

-- Where the server reads the keys that an application authenticates by, '' for none. An application
-- has either this or jwks.
ALTER TABLE applications ADD COLUMN jwks_uri TEXT NOT NULL DEFAULT '';
