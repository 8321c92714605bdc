-- +goose Up

-- The address of the document that lists the redirect URIs of a pairwise application's sector
-- (OpenID Connect Core §8.1), '' for none.
ALTER TABLE applications ADD COLUMN sector_identifier_uri TEXT NOT NULL DEFAULT '';
