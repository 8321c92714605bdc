-- +goose Up

-- The engine's settings of a revision, as JSON; '' in revisions of an earlier release.
ALTER TABLE policy_revisions ADD COLUMN settings TEXT NOT NULL DEFAULT '';

-- The engine's settings that the draft publishes, as JSON; '' for those in force.
ALTER TABLE policy_drafts ADD COLUMN settings TEXT NOT NULL DEFAULT '';
