-- +goose Up

-- Decision records, one row per answer. What is searched has columns: principal and resource
-- are hashes of their ids (resource is 0 where the answer is about several), effects a set of
-- bits. All else is in body. An id is a version 7 UUID, so its order is time's, and the month
-- partitions are ranges of it.
CREATE TABLE decisions (
    tenant_id      uuid     NOT NULL REFERENCES tenants (id),
    id             uuid     NOT NULL,
    principal      bigint   NOT NULL,
    resource       bigint   NOT NULL,
    application_id uuid,
    revision       bigint   NOT NULL,
    effects        smallint NOT NULL,
    body           bytea    NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX decisions_principal ON decisions (tenant_id, principal, id);
CREATE INDEX decisions_resource ON decisions (tenant_id, resource, id);
CREATE TABLE decisions_default PARTITION OF decisions DEFAULT;
SELECT gatehouse_protect('decisions');
REVOKE UPDATE ON decisions FROM gatehouse_app;

-- What a tenant decides about its records: retention and redaction.
CREATE TABLE decision_settings (
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    settings   text   NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT gatehouse_protect('decision_settings');

-- Replays of a draft over recorded decisions. digest is of the new ALLOWs, '' if there are none.
CREATE TABLE policy_replays (
    tenant_id     uuid   NOT NULL REFERENCES tenants (id),
    id            uuid   NOT NULL,
    draft_version uuid   NOT NULL,
    digest        text   NOT NULL,
    report        bytea  NOT NULL,
    created_at    bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
SELECT gatehouse_protect('policy_replays');

-- As in 00001, with decisions, whose bounds are ids instead of times.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION gatehouse_make_partitions(at bigint, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    parent text;
    lo timestamp;
    hi timestamp;
    bounds text;
    made integer := 0;
    name text;
    sch text;
BEGIN
    IF months < 1 OR months > 24 THEN
        RAISE EXCEPTION 'months must be 1 to 24';
    END IF;
    SELECT n.nspname INTO sch FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname = 'gatehouse_make_partitions' LIMIT 1;
    FOREACH parent IN ARRAY ARRAY['audit_events', 'access_records', 'decisions'] LOOP
        FOR i IN 0 .. months - 1 LOOP
            lo := date_trunc('month', to_timestamp(at / 1000000) AT TIME ZONE 'UTC') + make_interval(months => i);
            hi := lo + interval '1 month';
            name := parent || '_' || to_char(lo, 'YYYY_MM');
            IF parent = 'decisions' THEN
                bounds := format('FROM (%L) TO (%L)',
                    rpad(lpad(to_hex((extract(epoch FROM lo AT TIME ZONE 'UTC') * 1000)::bigint), 12, '0'), 32, '0')::uuid,
                    rpad(lpad(to_hex((extract(epoch FROM hi AT TIME ZONE 'UTC') * 1000)::bigint), 12, '0'), 32, '0')::uuid);
            ELSE
                bounds := format('FROM (%s) TO (%s)',
                    (extract(epoch FROM lo AT TIME ZONE 'UTC') * 1000000)::bigint,
                    (extract(epoch FROM hi AT TIME ZONE 'UTC') * 1000000)::bigint);
            END IF;
            IF NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE c.relname = name AND n.nspname = sch) THEN
                BEGIN
                    EXECUTE format('CREATE TABLE %I.%I PARTITION OF %I.%I FOR VALUES %s', sch, name, sch, parent, bounds);
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
SELECT gatehouse_make_partitions((extract(epoch FROM now()) * 1000000)::bigint, 3);

-- gatehouse_drop_partitions drops the month partitions of records that end at or before
-- `before` (microseconds since 1970, UTC). It runs as the owner, like its counterpart; it never
-- touches audit events. A partition that is in use is left for the next time.
-- +goose StatementBegin
CREATE FUNCTION gatehouse_drop_partitions(before bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '200ms' AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT n.nspname AS sch, c.relname AS name FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE p.relname IN ('access_records', 'decisions') AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND n.nspname =
            (SELECT m.nspname FROM pg_proc f JOIN pg_namespace m ON m.oid = f.pronamespace WHERE f.proname = 'gatehouse_drop_partitions' LIMIT 1)
        ORDER BY c.relname
    LOOP
        IF (extract(epoch FROM (to_date(right(part.name, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC') * 1000000)::bigint <= before THEN
            BEGIN
                EXECUTE format('DROP TABLE %I.%I', part.sch, part.name);
                dropped := dropped + 1;
            EXCEPTION
                WHEN lock_not_available OR undefined_table THEN NULL; -- in use, or another replica was first
            END;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION gatehouse_drop_partitions(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gatehouse_drop_partitions(bigint) TO gatehouse_app;
