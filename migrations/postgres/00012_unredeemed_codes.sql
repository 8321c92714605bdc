-- +goose Up

-- Finds the codes that were not redeemed: their grants end with them.
CREATE INDEX authorization_codes_unredeemed ON authorization_codes (tenant_id, expires_at) WHERE used_at IS NULL;
