-- +goose Up
-- Partitions first.

-- The audit log by action, and its refusals.
CREATE INDEX audit_events_action ON audit_events (tenant_id, action, at, id);
CREATE INDEX audit_events_refused ON audit_events (tenant_id, at, id) WHERE outcome = 'refused';
