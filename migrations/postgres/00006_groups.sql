-- +goose Up

-- Moves with every change of what the tenant's principals are: users, their roles and
-- groups, applications. Every decision reads it; see internal/iam/tenant/versions.go.
ALTER TABLE tenants ADD COLUMN principals_version bigint NOT NULL DEFAULT 0;

-- name_key is the name without case and in compatibility form: what makes it unique.
CREATE TABLE groups (
    tenant_id   uuid   NOT NULL REFERENCES tenants (id),
    id          uuid   NOT NULL,
    name        text   NOT NULL,
    name_key    text   NOT NULL COLLATE "C",
    description text   NOT NULL DEFAULT '',
    attributes  text   NOT NULL DEFAULT '{}',
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX groups__name_key ON groups (tenant_id, name_key);
SELECT gatehouse_protect('groups');

CREATE TABLE group_members (
    tenant_id uuid   NOT NULL REFERENCES tenants (id),
    group_id  uuid   NOT NULL,
    user_id   uuid   NOT NULL,
    added_at  bigint NOT NULL,
    PRIMARY KEY (tenant_id, group_id, user_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX group_members_user ON group_members (tenant_id, user_id, group_id);
SELECT gatehouse_protect('group_members');

-- A grant can be to a group as well. The new key reads the rows of all tenants: see migrations.go.
ALTER TABLE role_grants NO FORCE ROW LEVEL SECURITY;
ALTER TABLE groups NO FORCE ROW LEVEL SECURITY;
ALTER TABLE role_grants ADD COLUMN group_id uuid;
ALTER TABLE role_grants DROP CONSTRAINT role_grants_check, DROP CONSTRAINT role_grants_check1;
ALTER TABLE role_grants
    ADD CONSTRAINT role_grants_one_subject CHECK (
        (CASE WHEN user_id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN application_id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN group_id IS NULL THEN 0 ELSE 1 END) = 1),
    ADD CONSTRAINT role_grants_subject CHECK (subject_id = COALESCE(user_id, application_id, group_id)),
    ADD CONSTRAINT role_grants_group_fkey FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id) ON DELETE CASCADE;
CREATE INDEX role_grants_group ON role_grants (tenant_id, group_id) WHERE group_id IS NOT NULL;
ALTER TABLE role_grants FORCE ROW LEVEL SECURITY;
ALTER TABLE groups FORCE ROW LEVEL SECURITY;
