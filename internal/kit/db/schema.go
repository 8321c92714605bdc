package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Table is a tenant table as the database describes it.
type Table struct {
	Name string
	Key  []string // the columns of its primary key besides tenant_id, in order
	refs []string // the tenant tables it references
	kept bool     // append-only: the serving role may not delete from it, see EraseSome
}

const (
	pgKeys = `SELECT c.relname, a.attname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
		CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS u (n, place) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n
		WHERE k.contype = 'p' AND c.relnamespace = current_schema()::regnamespace ORDER BY c.relname, u.place`
	pgRefs = `SELECT c.relname, r.relname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
		WHERE k.contype = 'f' AND c.relnamespace = current_schema()::regnamespace`
	pgKept = `SELECT c.relname, '' FROM pg_class c WHERE c.relkind IN ('r', 'p')
		AND c.relnamespace = current_schema()::regnamespace AND NOT has_table_privilege(c.oid, 'DELETE')`
	sqliteKeys = `SELECT m.name, i.name FROM sqlite_master m JOIN pragma_table_info(m.name) i
		WHERE m.type = 'table' AND i.pk > 0 ORDER BY m.name, i.pk`
	sqliteRefs = `SELECT m.name, f."table" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
		WHERE m.type = 'table'`
)

// Tables returns the tenant tables in the order in which a tenant's rows can be deleted: a table
// comes before those it references, and append-only tables come last.
func (d *DB) Tables(ctx context.Context) ([]Table, error) {
	keys, refs := pgKeys, pgRefs
	if d.engine.name() == "sqlite" {
		keys, refs = sqliteKeys, sqliteRefs
	}
	tables := map[string]*Table{}
	for name := range d.gate.tenantTables {
		tables[name] = &Table{Name: name}
	}
	err := d.engine.view(ctx, func(s session) error {
		pairs := func(sql string, each func(t *Table, other string)) error {
			return s.query(ctx, id.ID{}, sql, nil, func(r Row) error {
				var table, other string
				if err := r.Scan(&table, &other); err != nil {
					return err
				}
				if t := tables[table]; t != nil {
					each(t, other)
				}
				return nil
			})
		}
		if err := pairs(keys, func(t *Table, column string) {
			if column != "tenant_id" {
				t.Key = append(t.Key, column)
			}
		}); err != nil {
			return err
		}
		if err := pairs(refs, func(t *Table, other string) {
			if other != t.Name && tables[other] != nil {
				t.refs = append(t.refs, other)
			}
		}); err != nil || d.engine.name() == "sqlite" {
			return err
		}
		return pairs(pgKept, func(t *Table, _ string) { t.kept = true })
	})
	if err != nil {
		return nil, classify(err)
	}
	out, err := childrenFirst(tables)
	slices.SortStableFunc(out, func(a, b Table) int {
		switch {
		case a.kept == b.kept:
			return 0
		case b.kept:
			return -1
		}
		return 1
	})
	return out, err
}

// childrenFirst sorts tables so that none stands before one that references it.
func childrenFirst(tables map[string]*Table) ([]Table, error) {
	var out []Table
	for len(tables) > 0 {
		referenced := map[string]bool{}
		for _, t := range tables {
			for _, r := range t.refs {
				referenced[r] = true
			}
		}
		var free []string
		for name := range tables {
			if !referenced[name] {
				free = append(free, name)
			}
		}
		if len(free) == 0 {
			return nil, fmt.Errorf("db: tenant tables reference each other in a circle")
		}
		slices.Sort(free)
		for _, name := range free {
			out = append(out, *tables[name])
			delete(tables, name)
		}
	}
	return out, nil
}

// EraseSome deletes up to limit rows of the transaction's tenant from t, a table of Tables, and
// returns how many. It fails (IsForeignKey) if other rows reference them without cascade.
//
// On Postgres only a function of the owner erases from an append-only table. It demands that the
// tenant is being deleted, and fails (IsForeignKey) if the tenant has rows in any other table.
func EraseSome(ctx context.Context, tx *Tx, t Table, limit int) (int64, error) {
	if t.kept {
		if !tx.write {
			return 0, errors.New("db: a View may not write")
		}
		return One(ctx, tx, Column[int64], `SELECT gatehouse_erase($1, $2, $3)`, t.Name, limit)
	}
	if len(t.Key) == 0 {
		return tx.Exec(ctx, `DELETE FROM `+t.Name+` WHERE tenant_id = $1`)
	}
	key := strings.Join(t.Key, ", ")
	return tx.Exec(ctx, `DELETE FROM `+t.Name+` WHERE tenant_id = $1 AND (`+key+`) IN (SELECT `+key+` FROM `+t.Name+
		` WHERE tenant_id = $1 LIMIT $2)`, limit)
}

// CountRows returns how many rows of the caller's tenant each tenant table has.
func (d *DB) CountRows(ctx context.Context, c caller.Caller) (map[string]int64, error) {
	counts := map[string]int64{}
	err := d.View(ctx, c, func(tx *Tx) error {
		for name := range d.gate.tenantTables {
			n, err := One(ctx, tx, Column[int64], `SELECT count(*) FROM `+name+` WHERE tenant_id = $1`)
			if err != nil {
				return err
			}
			counts[name] = n
		}
		return nil
	})
	return counts, err
}
