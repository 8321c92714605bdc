-- +goose Up

-- What usage is counted from. user_id is the person for whom tokens were issued.
ALTER TABLE access_records ADD COLUMN user_id BLOB;
ALTER TABLE access_records ADD COLUMN grant_type TEXT NOT NULL DEFAULT '';

-- kind is that of the record's body. allowed and denied count its answers.
ALTER TABLE decisions ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN allowed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;

-- Usage by UTC day. day is 20261231. A metric without a row is 0, or as on the day before if it
-- counts what there is.
CREATE TABLE usage_days (
    tenant_id BLOB    NOT NULL REFERENCES tenants (id),
    day       INTEGER NOT NULL,
    metric    TEXT    NOT NULL,
    value     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day, metric)
) STRICT, WITHOUT ROWID;

-- Who was active in a month, 202612. Bit n of days is day n. A deleted user's row stays until the
-- month is over, or the count would shrink.
CREATE TABLE usage_people (
    tenant_id BLOB    NOT NULL REFERENCES tenants (id),
    month     INTEGER NOT NULL,
    user_id   BLOB    NOT NULL,
    days      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, month, user_id)
) STRICT, WITHOUT ROWID;

-- The time before which a tenant's records are counted.
CREATE TABLE usage_rollups (
    tenant_id BLOB    NOT NULL REFERENCES tenants (id),
    until     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT, WITHOUT ROWID;

-- The same numbers by month and for all tenants, for the platform's list. The column has another
-- name than those of tenant tables, so that the version before starts on this schema.
CREATE TABLE usage_months (
    tenant BLOB    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    month  INTEGER NOT NULL,
    metric TEXT    NOT NULL,
    value  INTEGER NOT NULL,
    PRIMARY KEY (tenant, month, metric)
) STRICT, WITHOUT ROWID;
