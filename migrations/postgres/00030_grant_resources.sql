-- +goose Up

-- The identifiers of the APIs that a grant's tokens may be for, separated by spaces; empty for the
-- tenant itself.
ALTER TABLE grants ADD COLUMN resources text NOT NULL DEFAULT '';

-- The base that issued an opaque token; empty if it is the audience.
ALTER TABLE access_tokens ADD COLUMN issuer text NOT NULL DEFAULT '';
