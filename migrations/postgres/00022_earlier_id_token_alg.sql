-- +goose Up

-- The algorithm of an application's ID tokens before the last change of id_token_alg, '' for none.
-- It signs until clients can have the key of the new one.
ALTER TABLE applications ADD COLUMN earlier_id_token_alg text NOT NULL DEFAULT '';
