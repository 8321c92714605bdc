-- +goose Up

-- The remaining profile claims of OpenID Connect Core, section 5.1.
ALTER TABLE users
    ADD COLUMN middle_name text NOT NULL DEFAULT '',
    ADD COLUMN nickname    text NOT NULL DEFAULT '',
    ADD COLUMN profile     text NOT NULL DEFAULT '',
    ADD COLUMN picture     text NOT NULL DEFAULT '',
    ADD COLUMN website     text NOT NULL DEFAULT '',
    ADD COLUMN gender      text NOT NULL DEFAULT '',
    ADD COLUMN birthdate   text NOT NULL DEFAULT '',
    ADD COLUMN zoneinfo    text NOT NULL DEFAULT '';

-- The settings of an application for the claims about its users, as JSON. An application of an
-- earlier release has none of them.
ALTER TABLE applications ADD COLUMN claims text NOT NULL DEFAULT '{}';
