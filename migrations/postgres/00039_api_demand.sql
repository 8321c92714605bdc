-- +goose Up

-- What an API demands of the sign-in that a token comes from: its class, '' for any, and its age in
-- seconds, 0 for any.
ALTER TABLE resource_servers ADD COLUMN acr text NOT NULL DEFAULT '';
ALTER TABLE resource_servers ADD COLUMN max_age bigint NOT NULL DEFAULT 0;
