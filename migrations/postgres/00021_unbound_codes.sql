-- +goose Up

-- Whether the authorization requests of an application may send neither PKCE nor a nonce
-- (RFC 9700, section 2.1.1). By default they send one of the two.
ALTER TABLE applications ADD COLUMN allow_unbound_code boolean NOT NULL DEFAULT false;
