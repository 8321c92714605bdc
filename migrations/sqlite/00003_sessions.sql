-- +goose Up

CREATE TABLE sessions (
    tenant_id    BLOB    NOT NULL REFERENCES tenants (id),
    id           BLOB    NOT NULL,
    user_id      BLOB    NOT NULL,
    token_hash   BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    auth_time    INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    idle         INTEGER NOT NULL, -- microseconds without a visit after which it ends
    amr          TEXT    NOT NULL, -- JSON array
    acr          TEXT    NOT NULL,
    address      TEXT    NOT NULL DEFAULT '',
    agent        TEXT    NOT NULL DEFAULT '',
    ended_at     INTEGER,
    end_reason   TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sessions__token_hash ON sessions (tenant_id, token_hash);
CREATE INDEX sessions_user ON sessions (tenant_id, user_id, id);
CREATE INDEX sessions_expires ON sessions (tenant_id, expires_at, id);

-- A flow lives for an hour. Its state is one JSON document that only iam/signin reads.
CREATE TABLE signin_flows (
    tenant_id    BLOB    NOT NULL REFERENCES tenants (id),
    id           BLOB    NOT NULL,
    browser_hash BLOB    NOT NULL,
    state        TEXT    NOT NULL,
    done         INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    finished_at  INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX signin_flows_expires ON signin_flows (tenant_id, expires_at, id);
