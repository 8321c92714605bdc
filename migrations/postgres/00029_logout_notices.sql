-- +goose Up

-- Where an application is told that a session has ended (Back-Channel Logout 1.0), '' for nowhere.
ALTER TABLE applications ADD COLUMN backchannel_logout_uri text NOT NULL DEFAULT '';

-- The issuer under which the application asked, '' for a grant of an earlier release.
ALTER TABLE grants ADD COLUMN issuer text NOT NULL DEFAULT '';

-- What applications are to be told about ended sessions; see internal/iam/logout. A row goes when
-- the application has answered, or after an hour. Neither the session nor its user needs to exist.
CREATE TABLE logout_notices (
    tenant_id      uuid   NOT NULL REFERENCES tenants (id),
    session_id     uuid   NOT NULL,
    application_id uuid   NOT NULL,
    user_id        uuid   NOT NULL,
    issuer         text   NOT NULL,
    attempts       bigint NOT NULL DEFAULT 0,
    created_at     bigint NOT NULL,
    due_at         bigint NOT NULL,
    PRIMARY KEY (tenant_id, session_id, application_id),
    FOREIGN KEY (tenant_id, application_id) REFERENCES applications (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX logout_notices_application ON logout_notices (tenant_id, application_id);
CREATE INDEX logout_notices_due ON logout_notices (tenant_id, due_at);
SELECT gatehouse_protect('logout_notices');
