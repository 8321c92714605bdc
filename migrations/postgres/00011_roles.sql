-- +goose Up

-- One serving role a database, so that an installation's role is nothing in the next one's. It owns
-- nothing and cannot bypass row-level security. Login roles of production are made IN ROLE it.
-- gatehouse_app, which all databases of a server shared, keeps nothing in a new database. In one
-- that has tenants it keeps what replicas of the version before need, until a later release.
-- +goose StatementBegin
DO $$
DECLARE
    base text := 'gatehouse_app_' || current_database();
    role text := base;
    n integer := 1;
    fresh boolean := NOT EXISTS (SELECT FROM tenants);
    item record;
BEGIN
    IF octet_length(base) > 60 THEN
        base := 'gatehouse_app_' || md5(current_database());
        role := base;
    END IF;
    -- A role of that name may belong to a database that had this name before.
    WHILE EXISTS (SELECT FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
                  WHERE d.refclassid = 'pg_authid'::regclass AND r.rolname = role AND (
                      d.dbid NOT IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                      OR d.dbid = 0 AND d.classid = 'pg_database'::regclass
                          AND d.objid <> (SELECT oid FROM pg_database WHERE datname = current_database()))) LOOP
        n := n + 1;
        role := base || '_' || n;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', role);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE EXCEPTION 'the role % does not exist and this role may not create it', role
                USING HINT = format('As a superuser: CREATE ROLE %I NOLOGIN; GRANT %I TO %I WITH ADMIN OPTION; then migrate again.',
                    role, role, current_user);
        END;
    END IF;
    BEGIN
        EXECUTE format('GRANT %I TO %I', role, current_user);
    EXCEPTION WHEN OTHERS THEN NULL; -- a superuser needs no grant; others with two roles do not either
    END;
    EXECUTE format('CREATE FUNCTION gatehouse_serving_role() RETURNS name LANGUAGE sql IMMUTABLE AS $f$ SELECT %L::name $f$', role);

    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role);
    FOR item IN
        SELECT format('TABLE %s', c.oid::regclass) AS what, a.privilege_type AS privilege
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE c.relnamespace = current_schema()::regnamespace AND r.rolname = 'gatehouse_app'
        UNION ALL
        SELECT format('FUNCTION %s', f.oid::regprocedure), a.privilege_type
        FROM pg_proc f CROSS JOIN LATERAL aclexplode(f.proacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE f.pronamespace = current_schema()::regnamespace AND r.rolname = 'gatehouse_app'
    LOOP
        EXECUTE format('GRANT %s ON %s TO %I', item.privilege, item.what, role);
        IF fresh THEN
            EXECUTE format('REVOKE %s ON %s FROM gatehouse_app', item.privilege, item.what);
        END IF;
    END LOOP;
    -- Each replica asks at its start whether the schema is as new as itself.
    EXECUTE format('GRANT SELECT ON goose_db_version TO %I', role);
    IF fresh THEN
        EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM gatehouse_app', current_schema());
    END IF;

    -- Erasing is left to gatehouse_erase.
    EXECUTE format('REVOKE DELETE ON audit_events, policy_revisions FROM gatehouse_app, %I', role);
END $$;
-- +goose StatementEnd

-- Later tables are granted to this database's role.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION gatehouse_protect(t regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %s USING (tenant_id = current_setting(''app.tenant_id'')::uuid)', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', t, gatehouse_serving_role());
END $$;
-- +goose StatementEnd

-- Deletion is final: no tenant comes back with an erased log.
-- +goose StatementBegin
CREATE FUNCTION gatehouse_deletion_is_final() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'a tenant that is being deleted stays so' USING ERRCODE = 'check_violation';
END $$;
-- +goose StatementEnd
CREATE TRIGGER tenants_deletion_is_final BEFORE UPDATE ON tenants FOR EACH ROW
    WHEN (OLD.status = 'deleting' AND (NEW.status <> 'deleting' OR NEW.id <> OLD.id))
    EXECUTE FUNCTION gatehouse_deletion_is_final();

-- The functions below run as the owner, because the serving role may not do what they do. Their
-- bodies name their schema, and their search_path ends with pg_temp: no object of the caller's
-- stands for one of theirs.
-- +goose StatementBegin
DO $do$
DECLARE
    sch text := quote_ident(current_schema());
    item text;
BEGIN
    -- gatehouse_erase deletes up to `most` rows of the bound tenant from an append-only table and
    -- returns how many. The tenant must be marked for deletion, which is final, and have no row
    -- left in any other table: only the job that deletes a tenant gets there.
    EXECUTE replace($f$
CREATE FUNCTION gatehouse_erase(tenant uuid, target text, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    other text;
    found_one boolean;
    erased bigint;
BEGIN
    IF tenant <> current_setting('app.tenant_id')::uuid THEN
        RAISE EXCEPTION 'the tenant is not the bound one' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF target NOT IN ('audit_events', 'policy_revisions') THEN
        RAISE EXCEPTION '% is not an append-only table', target USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT EXISTS (SELECT FROM @sch@.tenants t WHERE t.id = tenant AND t.status = 'deleting') THEN
        RAISE EXCEPTION 'the tenant is not being deleted' USING ERRCODE = 'insufficient_privilege';
    END IF;
    FOR other IN
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = '@sch@'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relforcerowsecurity
          AND c.relname NOT IN ('audit_events', 'policy_revisions')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM @sch@.%I WHERE tenant_id = $1)', other) INTO found_one USING tenant;
        IF found_one THEN
            RAISE EXCEPTION 'the tenant still has rows in %', other USING ERRCODE = 'foreign_key_violation';
        END IF;
    END LOOP;
    IF target = 'audit_events' THEN
        DELETE FROM @sch@.audit_events e WHERE e.tenant_id = tenant AND (e.at, e.id) IN
            (SELECT x.at, x.id FROM @sch@.audit_events x WHERE x.tenant_id = tenant LIMIT most);
    ELSE
        DELETE FROM @sch@.policy_revisions e WHERE e.tenant_id = tenant AND e.number IN
            (SELECT x.number FROM @sch@.policy_revisions x WHERE x.tenant_id = tenant LIMIT most);
    END IF;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END $$;
$f$, '@sch@', sch);

    -- As in 00008. Months before 2025 and more than a quarter ahead of the server's clock are left
    -- to the default partition, so that the number of tables has a bound.
    EXECUTE replace($f$
CREATE OR REPLACE FUNCTION gatehouse_make_partitions(at bigint, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent text;
    lo timestamp;
    hi timestamp;
    bounds text;
    made integer := 0;
    name text;
BEGIN
    IF months < 1 OR months > 24 THEN
        RAISE EXCEPTION 'months must be 1 to 24';
    END IF;
    FOREACH parent IN ARRAY ARRAY['audit_events', 'access_records', 'decisions'] LOOP
        FOR i IN 0 .. months - 1 LOOP
            lo := date_trunc('month', to_timestamp(at / 1000000) AT TIME ZONE 'UTC') + make_interval(months => i);
            hi := lo + interval '1 month';
            CONTINUE WHEN lo < timestamp '2025-01-01' OR lo > clock_timestamp() AT TIME ZONE 'UTC' + interval '3 months';
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
            IF to_regclass(format('@sch@.%I', name)) IS NULL THEN
                BEGIN
                    EXECUTE format('CREATE TABLE @sch@.%I PARTITION OF @sch@.%I FOR VALUES %s', name, parent, bounds);
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
$f$, '@sch@', sch);

    -- As in 00008. A month with rows is dropped only once no tenant can keep it: the longest
    -- retention is 400 days. Until then the rows go one by one, each by its tenant's retention.
    EXECUTE replace($f$
CREATE OR REPLACE FUNCTION gatehouse_drop_partitions(before bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    part text;
    ended timestamptz;
    kept boolean;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent IN ('@sch@.access_records'::regclass, '@sch@.decisions'::regclass)
          AND c.relnamespace = '@sch@'::regnamespace AND c.relname ~ '_[0-9]{4}_[0-9]{2}$'
        ORDER BY c.relname
    LOOP
        ended := (to_date(right(part, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC';
        CONTINUE WHEN (extract(epoch FROM ended) * 1000000)::bigint > before OR ended > clock_timestamp();
        BEGIN
            EXECUTE format('LOCK TABLE @sch@.%I IN SHARE MODE', part);
            EXECUTE format('SELECT EXISTS (SELECT FROM @sch@.%I)', part) INTO kept;
            IF NOT kept OR ended < clock_timestamp() - interval '400 days' THEN
                EXECUTE format('DROP TABLE @sch@.%I', part);
                dropped := dropped + 1;
            END IF;
        EXCEPTION
            WHEN lock_not_available OR undefined_table THEN NULL; -- in use, or another replica was first
        END;
    END LOOP;
    RETURN dropped;
END $$;
$f$, '@sch@', sch);

    REVOKE ALL ON FUNCTION gatehouse_erase(uuid, text, integer) FROM PUBLIC;
    FOREACH item IN ARRAY ARRAY['gatehouse_erase(uuid, text, integer)', 'gatehouse_make_partitions(bigint, integer)',
        'gatehouse_drop_partitions(bigint)'] LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', item, gatehouse_serving_role());
    END LOOP;
END $do$;
-- +goose StatementEnd
