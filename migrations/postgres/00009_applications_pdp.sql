-- +goose Up

-- Whom an application's decisions believe about a principal: the request, or the directory.
ALTER TABLE applications ADD COLUMN principal_mode text NOT NULL DEFAULT 'asserted' CHECK (principal_mode IN ('asserted', 'directory'));
