-- +goose Up

-- Whether an application may introspect every access token for the tenant; see
-- internal/iam/application. Those that are APIs already may not. The owner of the table is under
-- row-level security too, so it is off for this one statement.
ALTER TABLE applications ADD COLUMN inspects_tenant boolean NOT NULL DEFAULT true;
ALTER TABLE applications NO FORCE ROW LEVEL SECURITY;
ALTER TABLE resource_server_applications NO FORCE ROW LEVEL SECURITY;
UPDATE applications SET inspects_tenant = false WHERE EXISTS (SELECT 1 FROM resource_server_applications r
    WHERE r.tenant_id = applications.tenant_id AND r.application_id = applications.id AND r.part = 'serves');
ALTER TABLE applications FORCE ROW LEVEL SECURITY;
ALTER TABLE resource_server_applications FORCE ROW LEVEL SECURITY;

-- The scopes of a grant for APIs; empty if scopes has them all. There scopes has only those about
-- the person. A replica of the earlier release reads only that, and issues tokens for the tenant.
ALTER TABLE grants ADD COLUMN all_scopes text NOT NULL DEFAULT '';
