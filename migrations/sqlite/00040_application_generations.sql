-- +goose Up

-- How often something that an application holds was ended. A row carries the generation of the copy
-- of its application by which it was decided. The others are the first generations whose rows still
-- count: grants with the application's own opaque tokens, grants that outlive their session, and
-- consents.
ALTER TABLE applications ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN grants_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN offline_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN consents_from INTEGER NOT NULL DEFAULT 0;
-- The generation whose ends were purged: no row from before is left that counts no longer.
ALTER TABLE applications ADD COLUMN purged_generation INTEGER NOT NULL DEFAULT 0;

-- 0 in a row of the version before too. So it ends with the first end after this step.
ALTER TABLE grants ADD COLUMN application_generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE access_tokens ADD COLUMN application_generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE consents ADD COLUMN application_generation INTEGER NOT NULL DEFAULT 0;
