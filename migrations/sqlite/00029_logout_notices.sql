-- +goose Up

-- Where an application is told that a session has ended (Back-Channel Logout 1.0), '' for nowhere.
ALTER TABLE applications ADD COLUMN backchannel_logout_uri TEXT NOT NULL DEFAULT '';

-- The issuer under which the application asked, '' for a grant of an earlier release.
ALTER TABLE grants ADD COLUMN issuer TEXT NOT NULL DEFAULT '';

-- What applications are to be told about ended sessions; see internal/iam/logout. A row goes when
-- the application has answered, or after an hour. Neither the session nor its user needs to exist.
CREATE TABLE logout_notices (
    tenant_id      BLOB   NOT NULL REFERENCES tenants (id),
    session_id     BLOB   NOT NULL,
    application_id BLOB   NOT NULL,
    user_id        BLOB   NOT NULL,
    issuer         TEXT   NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    created_at     INTEGER NOT NULL,
    due_at         INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, session_id, application_id),
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX logout_notices_application ON logout_notices (tenant_id, application_id);
CREATE INDEX logout_notices_due ON logout_notices (tenant_id, due_at);
