-- +goose Up

-- Whether the client assertions of an application may name the token endpoint as their audience
-- (RFC 7523, section 3). By default only the issuer counts.
ALTER TABLE applications ADD COLUMN token_endpoint_audience boolean NOT NULL DEFAULT false;
