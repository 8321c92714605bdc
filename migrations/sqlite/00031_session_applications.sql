-- +goose Up

-- The applications of a session whose grants were purged before the session ended; see
-- internal/iam/grant. They are told of its end like those that have a grant.
CREATE TABLE session_applications (
    tenant_id      BLOB NOT NULL REFERENCES tenants (id),
    session_id     BLOB NOT NULL,
    application_id BLOB NOT NULL,
    issuer         TEXT NOT NULL,
    PRIMARY KEY (tenant_id, session_id, application_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX session_applications_application ON session_applications (tenant_id, application_id);
