-- +goose Up

-- What usage is counted from. user_id is the person for whom tokens were issued.
ALTER TABLE access_records ADD COLUMN user_id uuid;
ALTER TABLE access_records ADD COLUMN grant_type text NOT NULL DEFAULT '';

-- kind is that of the record's body. allowed and denied count its answers.
ALTER TABLE decisions ADD COLUMN kind smallint NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN allowed integer NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN denied integer NOT NULL DEFAULT 0;

-- Usage by UTC day. day is 20261231. A metric without a row is 0, or as on the day before if it
-- counts what there is.
CREATE TABLE usage_days (
    tenant_id uuid    NOT NULL REFERENCES tenants (id),
    day       integer NOT NULL,
    metric    text    NOT NULL,
    value     bigint  NOT NULL,
    PRIMARY KEY (tenant_id, day, metric)
);
SELECT gatehouse_protect('usage_days');

-- Who was active in a month, 202612. Bit n of days is day n. A deleted user's row stays until the
-- month is over, or the count would shrink.
CREATE TABLE usage_people (
    tenant_id uuid    NOT NULL REFERENCES tenants (id),
    month     integer NOT NULL,
    user_id   uuid    NOT NULL,
    days      bigint  NOT NULL,
    PRIMARY KEY (tenant_id, month, user_id)
);
SELECT gatehouse_protect('usage_people');

-- The time before which a tenant's records are counted.
CREATE TABLE usage_rollups (
    tenant_id uuid   NOT NULL REFERENCES tenants (id),
    until     bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT gatehouse_protect('usage_rollups');

-- The same numbers by month and for all tenants, for the platform's list. The column has another
-- name than those of tenant tables, so that the version before starts on this schema.
CREATE TABLE usage_months (
    tenant uuid    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    month  integer NOT NULL,
    metric text    NOT NULL,
    value  bigint  NOT NULL,
    PRIMARY KEY (tenant, month, metric)
);
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON usage_months TO %I', gatehouse_serving_role());
END $$;
-- +goose StatementEnd
