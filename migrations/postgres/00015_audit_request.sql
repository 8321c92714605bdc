-- +goose Up
-- Partitions first.

-- The events of one request: an answer, a page and the log name its request_id.
CREATE INDEX audit_events_request ON audit_events (tenant_id, request_id, at, id);
