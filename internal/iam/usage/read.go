package usage

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// liveTime bounds how much a reader counts beyond the roll-up. Housekeeping visits a tenant every
// hour, so more is left only if it is behind.
const liveTime = 2 * time.Hour

// Report is the usage of one tenant.
type Report struct {
	Until  time.Time // records before this time are counted
	Days   map[Day]Counts
	Months map[Month]int64 // the active users
}

// Read returns the tenant's usage on each day, both inclusive, up to now.
func Read(ctx context.Context, tx *db.Tx, from, to Day) (Report, error) {
	r := Report{Until: tx.Now(), Days: map[Day]Counts{}, Months: map[Month]int64{}}
	all := days(from, to)
	for _, d := range all {
		r.Days[d], r.Months[d.month()] = Counts{}, 0
	}
	var stored, before []value[Day]
	var months []value[Month]
	db.LaterList(tx, scanValue[Day], &stored,
		`SELECT day, metric, value FROM usage_days WHERE tenant_id = $1 AND day >= $2 AND day <= $3`,
		int(from), int(to))
	db.LaterList(tx, scanValue[Month], &months, `SELECT month, metric, value FROM usage_months
		WHERE tenant = $1 AND month >= $2 AND month <= $3 AND metric = $4`,
		int(from.month()), int(to.month()), string(ActiveUsers))
	db.LaterList(tx, scanValue[Day], &before, `SELECT d.day, d.metric, d.value FROM usage_days d
		WHERE d.tenant_id = $1 AND d.metric IN ('users', 'applications', 'groups') AND d.day =
		(SELECT max(e.day) FROM usage_days e WHERE e.tenant_id = $1 AND e.metric = d.metric AND e.day < $2)`, int(from))
	now := tx.Now().Add(time.Microsecond) // what happened at this moment counts
	s, err := readState(ctx, tx, now)
	if err != nil {
		return r, err
	}
	last := Counts{}
	for _, v := range before {
		last[v.metric] = v.value
	}
	for _, v := range stored {
		r.Days[v.at][v.metric] = v.value
	}
	for _, v := range months {
		r.Months[v.at] = v.value
	}
	if !s.stored { // nothing is rolled up yet: what there is must be counted
		for _, l := range levels {
			if last[l.metric], err = db.One(ctx, tx, db.Column[int64], l.query, s.until); err != nil {
				return r, err
			}
		}
	}
	live := map[Day]map[Metric]int64{}
	if !s.next.IsZero() {
		r.Until = earliest(now, s.next.Add(liveTime))
		for at := s.next; at.Before(r.Until); {
			day := dayOf(at)
			end := earliest(day.end(), r.Until)
			if r.Days[day] == nil { // outside of the range, but it changes what there is
				r.Days[day] = Counts{}
			}
			if live[day], err = r.addLive(ctx, tx, day, at, end); err != nil {
				return r, err
			}
			at = end
		}
	}
	r.fill(all, last, live)
	return r, nil
}

// addLive adds the records of a time that are not rolled up. It returns the changes of what there
// is.
func (r *Report) addLive(ctx context.Context, tx *db.Tx, day Day, from, to time.Time) (map[Metric]int64, error) {
	counts, changed, err := count(ctx, tx, from, to)
	if err != nil {
		return nil, err
	}
	for m, n := range counts {
		r.Days[day][m] += n
	}
	more, err := db.One(ctx, tx, func(row db.Row) (active, error) {
		var a active
		err := row.Scan(&a.day, &a.month)
		return a, err
	}, `SELECT COALESCE(sum(CASE WHEN COALESCE(q.days, 0) & $5 = 0 THEN 1 ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN q.days IS NULL THEN 1 ELSE 0 END), 0)
		FROM (`+people+`) AS p
		LEFT JOIN usage_people q ON q.tenant_id = $1 AND q.month = $4 AND q.user_id = p.user_id`,
		from, to, int(day.month()), day.bit())
	r.Days[day][ActiveUsers] += more.day
	r.Months[day.month()] += more.month
	return changed, err
}

// fill carries what there is on to the days that have no number of their own.
func (r *Report) fill(all []Day, last Counts, live map[Day]map[Metric]int64) {
	for d, changed := range live {
		for m, n := range changed {
			if d < all[0] {
				last[m] += n
			}
		}
	}
	for _, d := range all {
		for _, l := range levels {
			n, ok := r.Days[d][l.metric]
			if !ok {
				n = last[l.metric]
			}
			n += live[d][l.metric]
			r.Days[d][l.metric], last[l.metric] = n, n
		}
	}
}

type value[T ~int] struct {
	at     T
	metric Metric
	value  int64
}

func scanValue[T ~int](row db.Row) (value[T], error) {
	var v value[T]
	var at int64
	var metric string
	err := row.Scan(&at, &metric, &v.value)
	v.at, v.metric = T(at), Metric(metric)
	return v, err
}

// Row is the usage of one tenant in a month.
type Row struct {
	Tenant     id.ID
	Slug, Name string
	Values     Counts
}

// ofMonth is a tenant's value of metric $2 in month $1. What there is stays as it was in the last
// month that has a number.
func ofMonth(m Metric) string {
	compare := "u.month = $1"
	if m.level() {
		compare = "u.month <= $1"
	}
	return `COALESCE((SELECT u.value FROM usage_months u WHERE u.tenant = t.id AND ` + compare +
		` AND u.metric = $2 ORDER BY u.month DESC LIMIT 1), 0)`
}

// List returns every tenant's usage in a month, the largest values of a metric first. after is the
// last tenant of the page before, or zero. Its value is read again, so that a page begins where a
// tenant of its value would stand.
func List(ctx context.Context, st *db.SystemTx, month Month, by Metric, after id.ID, limit int) ([]Row, error) {
	args := []any{int(month), string(by), limit}
	where := `t.status <> 'deleting'`
	if !after.IsZero() {
		last, err := db.SystemList(ctx, st, db.Column[int64], `SELECT `+ofMonth(by)+` FROM tenants t WHERE t.id = $3`,
			int(month), string(by), after)
		if err != nil || len(last) == 0 {
			return nil, err
		}
		args = append(args, last[0], after)
		where += ` AND (` + ofMonth(by) + ` < $4 OR ` + ofMonth(by) + ` = $4 AND t.id > $5)`
	}
	rows, err := db.SystemList(ctx, st, func(row db.Row) (Row, error) {
		r := Row{Values: Counts{}}
		err := row.Scan(&r.Tenant, &r.Slug, &r.Name)
		return r, err
	}, `SELECT t.id, t.slug, t.name FROM tenants t WHERE `+where+`
		ORDER BY `+ofMonth(by)+` DESC, t.id LIMIT $3`, args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	at := map[id.ID]Counts{}
	for _, r := range rows {
		at[r.Tenant] = r.Values
	}
	return rows, readMonths(ctx, st, month, at)
}

// readMonths reads the values of tenants in a month into of.
func readMonths(ctx context.Context, st *db.SystemTx, month Month, of map[id.ID]Counts) error {
	args, places := []any{int(month)}, make([]string, 0, len(of))
	for t := range of {
		args = append(args, t)
		places = append(places, fmt.Sprintf("$%d", len(args)))
	}
	type found struct {
		tenant id.ID
		metric string
		value  int64
	}
	values, err := db.SystemList(ctx, st, func(row db.Row) (found, error) {
		var f found
		err := row.Scan(&f.tenant, &f.metric, &f.value)
		return f, err
	}, `SELECT u.tenant, u.metric, u.value FROM usage_months u WHERE u.tenant IN (`+strings.Join(places, ", ")+`)
		AND (u.month = $1 OR u.metric IN ('users', 'applications', 'groups') AND u.month = (SELECT max(v.month)
		FROM usage_months v WHERE v.tenant = u.tenant AND v.metric = u.metric AND v.month <= $1))`, args...)
	for _, f := range values {
		of[f.tenant][Metric(f.metric)] = f.value
	}
	return err
}
