-- +goose Up

-- The role that serves: it owns nothing and cannot bypass row-level security.
-- Login roles of production are made IN ROLE gatehouse_app.
-- +goose StatementBegin
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gatehouse_app') THEN
        BEGIN
            CREATE ROLE gatehouse_app NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this server made it meanwhile
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role gatehouse_app does not exist and this role may not create it'
                    USING HINT = 'As a superuser: CREATE ROLE gatehouse_app NOLOGIN; then migrate again.';
        END;
    END IF;
    BEGIN
        EXECUTE format('GRANT gatehouse_app TO %I', current_user);
    EXCEPTION WHEN OTHERS THEN NULL; -- a superuser needs no grant; others with two roles do not either
    END;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO gatehouse_app', current_schema());
END $$;
-- +goose StatementEnd

-- gatehouse_protect puts a tenant table behind row-level security, for its owner too.
-- An unset app.tenant_id is an error, so a statement without its tenant fails closed.
-- +goose StatementBegin
CREATE FUNCTION gatehouse_protect(t regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %s USING (tenant_id = current_setting(''app.tenant_id'')::uuid)', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO gatehouse_app', t);
END $$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION gatehouse_protect(regclass) FROM PUBLIC;

CREATE TABLE tenants (
    id             uuid    PRIMARY KEY,
    slug           text    NOT NULL,
    name           text    NOT NULL,
    status         text    NOT NULL,
    settings       text    NOT NULL DEFAULT '{}',
    config_version bigint  NOT NULL DEFAULT 0,
    created_at     bigint  NOT NULL,
    updated_at     bigint  NOT NULL
);
CREATE UNIQUE INDEX tenants__slug ON tenants (slug);
CREATE INDEX tenants_config_version ON tenants (config_version);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants TO gatehouse_app;

CREATE TABLE tenant_domains (
    domain     text   PRIMARY KEY,
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    created_at bigint NOT NULL
);
CREATE INDEX tenant_domains_tenant ON tenant_domains (tenant_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_domains TO gatehouse_app;

CREATE TABLE config_clock (
    id        integer PRIMARY KEY CHECK (id = 1),
    version   bigint  NOT NULL,
    tenant_id uuid
);
INSERT INTO config_clock (id, version) VALUES (1, 0);
GRANT SELECT, UPDATE ON config_clock TO gatehouse_app;

CREATE TABLE job_tenants (
    tenant_id   uuid   PRIMARY KEY REFERENCES tenants (id),
    due_at      bigint NOT NULL,
    lease_until bigint NOT NULL DEFAULT 0,
    lease_owner text   NOT NULL DEFAULT ''
);
CREATE INDEX job_tenants_due ON job_tenants (due_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON job_tenants TO gatehouse_app;

CREATE TABLE jobs (
    tenant_id  uuid    NOT NULL REFERENCES tenants (id),
    id         uuid    NOT NULL,
    kind       text    NOT NULL,
    dedup_key  text,
    payload    bytea   NOT NULL,
    due_at     bigint  NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    last_error text    NOT NULL DEFAULT '',
    failed_at  bigint,
    created_at bigint  NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX jobs__dedup_key ON jobs (tenant_id, kind, dedup_key);
CREATE INDEX jobs_due ON jobs (tenant_id, due_at) WHERE failed_at IS NULL;
SELECT gatehouse_protect('jobs');

-- Audit events: append-only. The serving role may insert and read; it may erase
-- only the events of a tenant that is being deleted.
CREATE TABLE audit_events (
    tenant_id    uuid   NOT NULL REFERENCES tenants (id),
    at           bigint NOT NULL,
    id           uuid   NOT NULL,
    action       text   NOT NULL,
    outcome      text   NOT NULL,
    actor_kind   text   NOT NULL,
    actor_id     uuid,
    actor_tenant uuid,
    actor_name   text   NOT NULL DEFAULT '',
    via          uuid,
    target_kind  text   NOT NULL DEFAULT '',
    target_id    text   NOT NULL DEFAULT '',
    target_name  text   NOT NULL DEFAULT '',
    address      text   NOT NULL DEFAULT '',
    agent        text   NOT NULL DEFAULT '',
    request_id   text   NOT NULL DEFAULT '',
    detail       text   NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, at, id)
) PARTITION BY RANGE (at);
CREATE INDEX audit_events_target ON audit_events (tenant_id, target_id, at, id);
CREATE INDEX audit_events_actor ON audit_events (tenant_id, actor_id, at, id);
CREATE TABLE audit_events_default PARTITION OF audit_events DEFAULT;
SELECT gatehouse_protect('audit_events');
REVOKE UPDATE ON audit_events FROM gatehouse_app;
CREATE POLICY erase_with_tenant ON audit_events AS RESTRICTIVE FOR DELETE
    USING (EXISTS (SELECT FROM tenants t WHERE t.id = tenant_id AND t.status = 'deleting'));

-- Access records: what changes nothing (a machine token issued, a decision answered).
CREATE TABLE access_records (
    tenant_id    uuid   NOT NULL REFERENCES tenants (id),
    at           bigint NOT NULL,
    id           uuid   NOT NULL,
    action       text   NOT NULL,
    actor_kind   text   NOT NULL,
    actor_id     uuid,
    actor_name   text   NOT NULL DEFAULT '',
    target_kind  text   NOT NULL DEFAULT '',
    target_id    text   NOT NULL DEFAULT '',
    target_name  text   NOT NULL DEFAULT '',
    address      text   NOT NULL DEFAULT '',
    request_id   text   NOT NULL DEFAULT '',
    detail       text   NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, at, id)
) PARTITION BY RANGE (at);
CREATE TABLE access_records_default PARTITION OF access_records DEFAULT;
SELECT gatehouse_protect('access_records');
REVOKE UPDATE ON access_records FROM gatehouse_app;

-- gatehouse_make_partitions makes the month partitions of `parent` from the month
-- of `at` (microseconds since 1970, UTC) on. It runs as the owner, because the
-- serving role may not create tables; it can only make partitions of these two.
-- +goose StatementBegin
CREATE FUNCTION gatehouse_make_partitions(at bigint, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    parent text;
    lo timestamp;
    hi timestamp;
    made integer := 0;
    name text;
    sch text;
BEGIN
    IF months < 1 OR months > 24 THEN
        RAISE EXCEPTION 'months must be 1 to 24';
    END IF;
    SELECT n.nspname INTO sch FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname = 'gatehouse_make_partitions' LIMIT 1;
    FOREACH parent IN ARRAY ARRAY['audit_events', 'access_records'] LOOP
        FOR i IN 0 .. months - 1 LOOP
            lo := date_trunc('month', to_timestamp(at / 1000000) AT TIME ZONE 'UTC') + make_interval(months => i);
            hi := lo + interval '1 month';
            name := parent || '_' || to_char(lo, 'YYYY_MM');
            IF NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE c.relname = name AND n.nspname = sch) THEN
                BEGIN
                    EXECUTE format('CREATE TABLE %I.%I PARTITION OF %I.%I FOR VALUES FROM (%s) TO (%s)', sch, name, sch, parent,
                        (extract(epoch FROM lo AT TIME ZONE 'UTC') * 1000000)::bigint,
                        (extract(epoch FROM hi AT TIME ZONE 'UTC') * 1000000)::bigint);
                    made := made + 1;
                EXCEPTION
                    WHEN duplicate_table THEN NULL;     -- another replica was first
                    WHEN check_violation THEN NULL;     -- the default partition already holds rows of that month; they stay there
                END;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION gatehouse_make_partitions(bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gatehouse_make_partitions(bigint, integer) TO gatehouse_app;
SELECT gatehouse_make_partitions((extract(epoch FROM now()) * 1000000)::bigint, 3);
