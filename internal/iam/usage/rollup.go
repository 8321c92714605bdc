package usage

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

const (
	// lag is how old a record is when it is counted. By then every replica has written the records
	// of that time, also one whose clock is a little behind.
	lag = 5 * time.Minute
	// stretch is the longest time that one transaction counts.
	stretch = time.Hour
	// lookBack is how far the first roll-up of a tenant goes back.
	lookBack = 31 * 24 * time.Hour
	// How long numbers are kept: those of days and months, and who was active. The people of the
	// month before are kept until late records of its last day are counted.
	keepMonths = 25
	keepPeople = 2
	purgeRows  = 5000 // people of one transaction
)

// RollUp counts the tenant's next uncounted records, of at most an hour. It returns the time until
// which all are counted, and whether there may be more. A tenant without new records costs two
// reads and no write.
func RollUp(ctx context.Context, d *db.DB, c caller.Caller, now time.Time) (time.Time, bool, error) {
	until := now.Add(-lag)
	s, err := db.Read(ctx, d, c, func(tx *db.Tx) (state, error) { return readState(ctx, tx, until) })
	switch {
	case err != nil:
		return until, false, err
	case !s.until.Before(until): // counted a moment ago, or a new tenant
		return s.until, false, nil
	case s.stored && s.next.IsZero() && !s.outdated:
		return until, false, nil
	}
	// The hours before the next record have none, and are counted with it.
	from, to := s.next, until
	if from.IsZero() {
		from = until
	} else {
		to = earliest(from.Truncate(stretch).Add(stretch), dayOf(from).end(), until)
	}
	err = d.Update(ctx, c, func(tx *db.Tx) error {
		if claimed, err := s.claim(ctx, tx, to); err != nil || !claimed {
			to = s.until // another replica counts
			return err
		}
		if err := add(ctx, tx, dayOf(from), from, to, !s.stored); err != nil || !s.outdated {
			return err
		}
		return purge(ctx, tx)
	})
	return to, to.After(s.until) && (to.Before(until) || s.outdated), err
}

func earliest(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.Before(t) {
			t = o
		}
	}
	return t
}

// state is how far a tenant's records are counted.
type state struct {
	stored bool
	until  time.Time // what is older is counted
	next   time.Time // of the first record that is not counted; zero if there is none

	outdated bool // some numbers are older than they are kept
}

// readState reads the state. next is before the given time.
func readState(ctx context.Context, tx *db.Tx, before time.Time) (state, error) {
	s, err := db.One(ctx, tx, func(row db.Row) (state, error) {
		var s state
		var created time.Time
		err := row.Scan(&created, &s.until)
		if s.stored = !s.until.IsZero(); !s.stored {
			s.until = created
			if oldest := before.Add(-lookBack); created.Before(oldest) {
				s.until = oldest
			}
		}
		return s, err
	}, `SELECT t.created_at, r.until FROM tenants t LEFT JOIN usage_rollups r ON r.tenant_id = $1 WHERE t.id = $1`)
	if err != nil || !s.until.Before(before) {
		return s, err
	}
	s.next, err = db.One(ctx, tx, func(row db.Row) (time.Time, error) {
		var event, access time.Time
		var decided id.ID
		var old int64
		err := row.Scan(&event, &access, &decided, &old)
		s.outdated = old > 0
		next := event
		if next.IsZero() || !access.IsZero() && access.Before(next) {
			next = access
		}
		if at := decided.Time(); !decided.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
		return next, err
	}, `SELECT (SELECT at FROM audit_events WHERE tenant_id = $1 AND at >= $2 AND at < $3 ORDER BY at LIMIT 1),
		(SELECT at FROM access_records WHERE tenant_id = $1 AND at >= $2 AND at < $3 ORDER BY at LIMIT 1),
		(SELECT id FROM decisions WHERE tenant_id = $1 AND id >= $4 AND id < $5 ORDER BY id LIMIT 1),
		(SELECT count(*) FROM (SELECT month FROM usage_people WHERE tenant_id = $1 AND month < $6 LIMIT 1) AS old)`,
		s.until, before, decision.First(s.until), decision.First(before), int(monthsBefore(before, keepPeople)))
	return s, err
}

// claim moves the time until which records are counted. It returns false if another transaction has
// moved it.
func (s state) claim(ctx context.Context, tx *db.Tx, to time.Time) (bool, error) {
	query := `UPDATE usage_rollups SET until = $2 WHERE tenant_id = $1 AND until = $3`
	args := []any{to, s.until}
	if !s.stored {
		query = `INSERT INTO usage_rollups (tenant_id, until) VALUES ($1, $2) ON CONFLICT (tenant_id) DO NOTHING`
		args = args[:1]
	}
	n, err := tx.Exec(ctx, query, args...)
	return n == 1, err
}

const (
	addDay = `INSERT INTO usage_days (tenant_id, day, metric, value) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, day, metric) DO UPDATE SET value = usage_days.value + excluded.value`
	setDay = `INSERT INTO usage_days (tenant_id, day, metric, value) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, day, metric) DO UPDATE SET value = excluded.value`
	addMonth = `INSERT INTO usage_months (tenant, month, metric, value) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant, month, metric) DO UPDATE SET value = usage_months.value + excluded.value`
	setMonth = `INSERT INTO usage_months (tenant, month, metric, value) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant, month, metric) DO UPDATE SET value = excluded.value`
)

// people are the persons who signed in, or for whom tokens were issued, from $2 to $3.
const people = `SELECT user_id FROM access_records
	WHERE tenant_id = $1 AND at >= $2 AND at < $3 AND user_id IS NOT NULL
	UNION SELECT actor_id FROM audit_events
	WHERE tenant_id = $1 AND at >= $2 AND at < $3 AND action = 'signin.succeed' AND actor_id IS NOT NULL`

// add adds the records of a time within a day.
//
// It counts what there is if that changed, or if the tenant is new to usage.
func add(ctx context.Context, tx *db.Tx, day Day, from, to time.Time, fresh bool) error {
	counts, changed, err := count(ctx, tx, from, to)
	if err != nil {
		return err
	}
	month := day.month()
	for m, n := range counts {
		if n != 0 {
			tx.Later(addDay, int(day), string(m), n)
			tx.Later(addMonth, int(month), string(m), n)
		}
	}
	tx.Later(`INSERT INTO usage_people (tenant_id, month, user_id, days)
		SELECT $1, $4, p.user_id, $5 FROM (`+people+`) AS p WHERE true
		ON CONFLICT (tenant_id, month, user_id) DO UPDATE SET days = usage_people.days | excluded.days`,
		from, to, int(month), day.bit())
	active, err := readActive(ctx, tx, day)
	if err != nil {
		return err
	}
	if active.day > 0 {
		tx.Later(setDay, int(day), string(ActiveUsers), active.day)
		tx.Later(setMonth, int(month), string(ActiveUsers), active.month)
		if err := tenant.NoteActive(ctx, tx, from, active.month); err != nil {
			return err
		}
	}
	for _, l := range levels {
		if _, ok := changed[l.metric]; !ok && !fresh {
			continue
		}
		n, err := db.One(ctx, tx, db.Column[int64], l.query, to)
		if err != nil {
			return err
		}
		tx.Later(setDay, int(day), string(l.metric), n)
		tx.Later(setMonth, int(month), string(l.metric), n)
	}
	return nil
}

// active counts the distinct people of a day and of its month.
type active struct{ day, month int64 }

func readActive(ctx context.Context, tx *db.Tx, day Day) (active, error) {
	return db.One(ctx, tx, func(row db.Row) (active, error) {
		var a active
		err := row.Scan(&a.day, &a.month)
		return a, err
	}, `SELECT COALESCE(sum(CASE WHEN (days & $3) <> 0 THEN 1 ELSE 0 END), 0), count(*)
		FROM usage_people WHERE tenant_id = $1 AND month = $2`, int(day.month()), day.bit())
}

// purge deletes some of the numbers that are too old.
func purge(ctx context.Context, tx *db.Tx) error {
	month := int(monthsBefore(tx.Now(), keepPeople))
	if _, err := tx.Exec(ctx, `DELETE FROM usage_people WHERE tenant_id = $1 AND (month, user_id) IN
		(SELECT month, user_id FROM usage_people WHERE tenant_id = $1 AND month < $2 LIMIT $3)`,
		month, purgeRows); err != nil {
		return err
	}
	month = int(monthsBefore(tx.Now(), keepMonths))
	tx.Later(`DELETE FROM usage_days WHERE tenant_id = $1 AND day < $2`, month*100)
	tx.Later(`DELETE FROM usage_months WHERE tenant = $1 AND month < $2`, month)
	return nil
}

// monthsBefore returns the oldest of the n months that end with the month of t.
func monthsBefore(t time.Time, n int) Month {
	y, m, _ := t.UTC().Date()
	return monthOf(time.Date(y, m-time.Month(n-1), 1, 0, 0, 0, 0, time.UTC))
}
