-- +goose Up

-- How often everything that a user had proved was ended. What was made in an earlier generation
-- does not count.
ALTER TABLE users ADD COLUMN generation bigint NOT NULL DEFAULT 0;

-- The user's generation at the start. NULL in a row of the version before.
ALTER TABLE sessions ADD COLUMN generation bigint;
ALTER TABLE grants ADD COLUMN generation bigint;

-- The network address that the person signed in from; empty in a row of the version before.
ALTER TABLE grants ADD COLUMN address text NOT NULL DEFAULT '';

-- Sessions and grants from this moment or before do not count. NULL: never.
ALTER TABLE tenants ADD COLUMN signed_out_at bigint;
