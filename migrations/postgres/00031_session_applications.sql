-- +goose Up

-- The applications of a session whose grants were purged before the session ended; see
-- internal/iam/grant. They are told of its end like those that have a grant.
CREATE TABLE session_applications (
    tenant_id      uuid NOT NULL REFERENCES tenants (id),
    session_id     uuid NOT NULL,
    application_id uuid NOT NULL,
    issuer         text NOT NULL,
    PRIMARY KEY (tenant_id, session_id, application_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX session_applications_application ON session_applications (tenant_id, application_id);
SELECT gatehouse_protect('session_applications');
