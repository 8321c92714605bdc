-- +goose Up

-- The remaining profile claims of OpenID Connect Core, section 5.1.
ALTER TABLE users ADD COLUMN middle_name TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN nickname TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN profile TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN picture TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN website TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN gender TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN birthdate TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN zoneinfo TEXT NOT NULL DEFAULT '';

-- The settings of an application for the claims about its users, as JSON. An application of an
-- earlier release has none of them.
ALTER TABLE applications ADD COLUMN claims TEXT NOT NULL DEFAULT '{}';
