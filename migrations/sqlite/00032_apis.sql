-- +goose Up

-- Whether an application may introspect every access token for the tenant; see
-- internal/iam/application. Those that are APIs already may not.
ALTER TABLE applications ADD COLUMN inspects_tenant INTEGER NOT NULL DEFAULT 1;
UPDATE applications SET inspects_tenant = 0 WHERE EXISTS (SELECT 1 FROM resource_server_applications r
    WHERE r.tenant_id = applications.tenant_id AND r.application_id = applications.id AND r.part = 'serves');

-- The scopes of a grant for APIs; empty if scopes has them all. There scopes has only those about
-- the person. A replica of the earlier release reads only that, and issues tokens for the tenant.
ALTER TABLE grants ADD COLUMN all_scopes TEXT NOT NULL DEFAULT '';
