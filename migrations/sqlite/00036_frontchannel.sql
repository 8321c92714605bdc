-- +goose Up

-- The page of an application that ends its own session in a frame of ours (Front-Channel Logout
-- 1.0), '' for none, and whether its address names the session.
ALTER TABLE applications ADD COLUMN frontchannel_logout_uri TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN frontchannel_logout_session INTEGER NOT NULL DEFAULT 0;
