-- +goose Up

CREATE TABLE sessions (
    tenant_id    uuid   NOT NULL REFERENCES tenants (id),
    id           uuid   NOT NULL,
    user_id      uuid   NOT NULL,
    token_hash   bytea  NOT NULL,
    created_at   bigint NOT NULL,
    auth_time    bigint NOT NULL,
    last_seen_at bigint NOT NULL,
    expires_at   bigint NOT NULL,
    idle         bigint NOT NULL, -- microseconds without a visit after which it ends
    amr          text   NOT NULL, -- JSON array
    acr          text   NOT NULL,
    address      text   NOT NULL DEFAULT '',
    agent        text   NOT NULL DEFAULT '',
    ended_at     bigint,
    end_reason   text   NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX sessions__token_hash ON sessions (tenant_id, token_hash);
CREATE INDEX sessions_user ON sessions (tenant_id, user_id, id);
CREATE INDEX sessions_expires ON sessions (tenant_id, expires_at, id);
SELECT gatehouse_protect('sessions');

-- A flow lives for an hour. Its state is one JSON document that only iam/signin reads.
CREATE TABLE signin_flows (
    tenant_id    uuid    NOT NULL REFERENCES tenants (id),
    id           uuid    NOT NULL,
    browser_hash bytea   NOT NULL,
    state        text    NOT NULL,
    done         boolean NOT NULL,
    version      bigint  NOT NULL,
    created_at   bigint  NOT NULL,
    expires_at   bigint  NOT NULL,
    finished_at  bigint,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX signin_flows_expires ON signin_flows (tenant_id, expires_at, id);
SELECT gatehouse_protect('signin_flows');
