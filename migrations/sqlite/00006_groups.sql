-- +goose Up

-- Moves with every change of what the tenant's principals are: users, their roles and
-- groups, applications. Every decision reads it; see internal/iam/tenant/versions.go.
ALTER TABLE tenants ADD COLUMN principals_version INTEGER NOT NULL DEFAULT 0;

-- name_key is the name without case and in compatibility form: what makes it unique.
CREATE TABLE groups (
    tenant_id   BLOB NOT NULL REFERENCES tenants (id),
    id          BLOB NOT NULL,
    name        TEXT NOT NULL,
    name_key    TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    attributes  TEXT NOT NULL DEFAULT '{}',
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX groups__name_key ON groups (tenant_id, name_key);

CREATE TABLE group_members (
    tenant_id BLOB NOT NULL REFERENCES tenants (id),
    group_id  BLOB NOT NULL,
    user_id   BLOB NOT NULL,
    added_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, group_id, user_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_user ON group_members (tenant_id, user_id, group_id);

-- A grant can be to a group too. SQLite cannot change a CHECK, so the table is created again.
CREATE TABLE role_grants_with_groups (
    tenant_id      BLOB NOT NULL REFERENCES tenants (id),
    subject_id     BLOB NOT NULL,
    role           TEXT NOT NULL,
    role_id        BLOB,
    user_id        BLOB,
    application_id BLOB,
    group_id       BLOB,
    until          INTEGER,
    granted_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, subject_id, role),
    FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id) ON DELETE CASCADE,
    CHECK ((user_id IS NOT NULL) + (application_id IS NOT NULL) + (group_id IS NOT NULL) = 1),
    CHECK (subject_id = COALESCE(user_id, application_id, group_id))
) STRICT, WITHOUT ROWID;
INSERT INTO role_grants_with_groups (tenant_id, subject_id, role, role_id, user_id, application_id, until, granted_at)
    SELECT tenant_id, subject_id, role, role_id, user_id, application_id, until, granted_at FROM role_grants;
DROP TABLE role_grants;
ALTER TABLE role_grants_with_groups RENAME TO role_grants;
CREATE INDEX role_grants_role ON role_grants (tenant_id, role, subject_id);
CREATE INDEX role_grants_role_id ON role_grants (tenant_id, role_id) WHERE role_id IS NOT NULL;
CREATE INDEX role_grants_user ON role_grants (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX role_grants_application ON role_grants (tenant_id, application_id) WHERE application_id IS NOT NULL;
CREATE INDEX role_grants_group ON role_grants (tenant_id, group_id) WHERE group_id IS NOT NULL;
