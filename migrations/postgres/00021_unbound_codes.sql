-- +goose Up

-- Whether the authorization requests of an application may send neither PKCE nor a nonce
-- (RFC 9700, section 2.1.1). It is null for an application of an earlier release, which asked for
-- neither. Its confidential clients go on.
ALTER TABLE applications ADD COLUMN allow_unbound_code boolean;
