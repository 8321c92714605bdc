package db_test

import (
	"context"
	"database/sql"
	"io/fs"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/migrations"
)

// Locks three and four, read from the schema. Every table is keyed by tenant, references only rows
// of its tenant and forces row-level security. The short list names the exceptions with their
// reasons.

func TestPostgresSchemaIsTenantKeyed(t *testing.T) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, testkit.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	type table struct {
		name                  string
		protected             bool
		policy, firstKey      string
		grantsOnPartitions    int
		foreignKeys, crossing int
		referencesTenants     bool
		appMayTruncate        bool
	}
	rows, err := conn.Query(ctx, `
		SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity,
		  coalesce((SELECT string_agg(pg_get_expr(p.polqual, p.polrelid), ' / ') FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive), ''),
		  coalesce((SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] WHERE i.indrelid = c.oid AND i.indisprimary), ''),
		  (SELECT count(*) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'),
		  (SELECT count(*) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
		     AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnum = k.conkey[1])),
		  EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid = 'tenants'::regclass AND k.confdeltype = 'a'),
		  has_table_privilege(gatehouse_serving_role(), c.oid, 'TRUNCATE'),
		  (SELECT count(*) FROM pg_inherits h WHERE h.inhparent = c.oid AND has_table_privilege(gatehouse_serving_role(), h.inhrelid, 'SELECT'))
		FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		var x table
		if err := rows.Scan(&x.name, &x.protected, &x.policy, &x.firstKey, &x.foreignKeys, &x.crossing,
			&x.referencesTenants, &x.appMayTruncate, &x.grantsOnPartitions); err != nil {
			t.Fatal(err)
		}
		n++
		if x.appMayTruncate {
			t.Errorf("%s: the serving role may truncate it", x.name)
		}
		if _, system := migrations.SystemTables[x.name]; system {
			continue
		}
		if !x.protected {
			t.Errorf(
				"%s: row-level security is not enabled and forced; call gatehouse_protect, or list it in "+
					"migrations.SystemTables with a reason", x.name)
		}
		if x.policy != "(tenant_id = (current_setting('app.tenant_id'::text))::uuid)" {
			t.Errorf("%s: permissive policies are %q", x.name, x.policy)
		}
		if x.firstKey != "tenant_id" {
			t.Errorf("%s: its primary key begins with %q, not tenant_id", x.name, x.firstKey)
		}
		if x.crossing > 0 {
			t.Errorf("%s: %d foreign keys do not begin with tenant_id, so they could reach into another tenant", x.name,
				x.crossing)
		}
		if !x.referencesTenants {
			t.Errorf("%s: no plain foreign key to tenants, so a deleted tenant could leave rows", x.name)
		}
		if x.grantsOnPartitions > 0 {
			t.Errorf("%s: the serving role may read %d partitions directly, past the policy", x.name,
				x.grantsOnPartitions)
		}
	}
	if err := rows.Err(); err != nil || n < 5 {
		t.Fatalf("read %d tables: %v", n, err)
	}
}

func TestSQLiteSchemaIsTenantKeyedAndTheSame(t *testing.T) {
	ctx := context.Background()
	lite, err := sql.Open("sqlite", testkit.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lite.Close() }()
	pg, err := pgx.Connect(ctx, testkit.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pg.Close(ctx) }()
	rows, err := lite.Query(
		`SELECT m.name, group_concat(c.name, ',' ORDER BY c.name), coalesce(min(CASE WHEN c.pk = 1 THEN c.name END), '')
		FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' GROUP BY m.name`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for rows.Next() {
		var name, columns, key string
		if err := rows.Scan(&name, &columns, &key); err != nil {
			t.Fatal(err)
		}
		n++
		if _, system := migrations.SystemTables[name]; !system && key != "tenant_id" {
			t.Errorf("%s: its primary key begins with %q, not tenant_id", name, key)
		}
		if strings.HasPrefix(name, "goose") {
			continue
		}
		var other string
		err := pg.QueryRow(ctx,
			`SELECT coalesce(string_agg(attname, ',' ORDER BY attname COLLATE "C"), '') FROM pg_attribute
			WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, name).Scan(&other)
		if err != nil || other != columns {
			t.Errorf("%s differs:\nsqlite   %s\npostgres %s (%v)", name, columns, other, err)
		}
	}
	if err := rows.Err(); err != nil || n < 5 {
		t.Fatalf("read %d tables: %v", n, err)
	}
}

func TestMigrationsComeInPairsAndGoForward(t *testing.T) {
	names := func(f fs.FS, dir string) []string {
		var out []string
		entries, err := fs.ReadDir(f, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			b, err := fs.ReadFile(f, dir+"/"+e.Name())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "+goose Down") {
				t.Errorf("%s/%s goes back; migrations are forward-only", dir, e.Name())
			}
			out = append(out, e.Name())
		}
		return out
	}
	pg, lite := names(migrations.Postgres, "postgres"), names(migrations.SQLite, "sqlite")
	if strings.Join(pg, " ") != strings.Join(lite, " ") {
		t.Errorf("not in pairs:\npostgres %v\nsqlite   %v", pg, lite)
	}
}
