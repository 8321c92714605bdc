-- +goose Up

-- What a tenant's own role is limited to: JSON, {} for no limit.
ALTER TABLE roles ADD COLUMN limits text NOT NULL DEFAULT '{}';
