-- +goose Up

-- The admin console of a signed-in browser. It has a token of its own, and ends with the session or
-- as soon as the session gets another token: session_hash is the one that it was opened under.
CREATE TABLE console_sessions (
    tenant_id    BLOB    NOT NULL REFERENCES tenants (id),
    session_id   BLOB    NOT NULL,
    token_hash   BLOB    NOT NULL,
    session_hash BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX console_sessions__token_hash ON console_sessions (tenant_id, token_hash);
