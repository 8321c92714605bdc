package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Limits are what the platform lets a tenant have. 0 means no limit. A limit is declared here and
// nowhere else, as a setting is.
type Limits struct {
	Users        int64 `json:"users" minimum:"0" maximum:"1000000000" doc:"How many users the tenant may have. 0: any number."`
	Applications int64 `json:"applications" minimum:"0" maximum:"1000000000" doc:"How many applications the tenant may have. 0: any number."`

	MonthlyActiveUsers int64 `json:"monthly_active_users" minimum:"0" maximum:"1000000000" doc:"From how many active users in a UTC month on the tenant may add no users until the next month. Users that it has can always sign in. 0: any number."`
}

// Limit names one of the limits, as in the API.
type Limit string

// The limits.
const (
	LimitUsers        Limit = "users"
	LimitApplications Limit = "applications"
	LimitActiveUsers  Limit = "monthly_active_users"
)

// LimitNames lists the limits.
var LimitNames = []Limit{LimitUsers, LimitApplications, LimitActiveUsers}

// Of returns the value of a limit; 0 if there is none.
func (l Limits) Of(name Limit) int64 {
	switch name {
	case LimitUsers:
		return l.Users
	case LimitApplications:
		return l.Applications
	case LimitActiveUsers:
		return l.MonthlyActiveUsers
	}
	return 0
}

// Resets returns when the use of a limit begins at 0 again; zero if it does not.
func (name Limit) Resets(now time.Time) time.Time {
	if name != LimitActiveUsers {
		return time.Time{}
	}
	y, m, _ := now.UTC().Date()
	return time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
}

// maxLimit bounds a limit, so that percentages of it do not overflow.
const maxLimit = 1_000_000_000

func (l Limits) check(wrong *fault.Fields) {
	for _, name := range LimitNames {
		if n := l.Of(name); n < 0 || n > maxLimit {
			wrong.Add("limits."+string(name), "This must be from 0, which means no limit, to %d.", maxLimit)
		}
	}
}

func (l Limits) text() string {
	b, _ := json.Marshal(l) // numbers only
	return string(b)
}

func parseLimits(text string) (Limits, error) {
	var l Limits
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return l, fmt.Errorf("limits: %w", err)
	}
	return l, nil
}

// ErrLimit is the fault of a tenant that has reached a limit.
var ErrLimit = fault.New(fault.Limited, "limit.reached", "This tenant has reached a limit.")

// reached returns ErrLimit for a limit.
func reached(name Limit, most int64, now time.Time) error {
	f := *ErrLimit
	f.Quota = &fault.Quota{Name: string(name), Most: most, Resets: name.Resets(now), Wait: time.Hour}
	again := "It does not reset: remove some, or ask"
	if !f.Quota.Resets.IsZero() {
		f.Quota.Wait = f.Quota.Resets.Sub(now)
		again = "It resets at " + f.Quota.Resets.Format(time.RFC3339) + ". For more, ask"
	}
	f.Reason = fmt.Sprintf("This tenant has reached its limit %s, which is %d. %s the operator of this deployment.",
		name, most, again)
	return &f
}

// TakePlace lets the transaction create one more of what a limit counts. count counts what there
// is. It fails with ErrLimit if there is no place.
//
// A tenant without the limit costs one read. Under a limit, transactions that create take turns, so
// that the last place goes to one of them.
func TakePlace(ctx context.Context, tx *db.Tx, name Limit, count func() (int64, error)) error {
	most, n, err := usePlace(ctx, tx, name, count)
	if err != nil || most == 0 {
		return err
	}
	return note(ctx, tx, name, most, n+1)
}

// CheckPlace fails as TakePlace does, and takes no place.
func CheckPlace(ctx context.Context, tx *db.Tx, name Limit, count func() (int64, error)) error {
	_, _, err := usePlace(ctx, tx, name, count)
	return err
}

// usePlace locks the tenant's places until the transaction ends. It returns the limit, or 0, and
// how many there are.
func usePlace(ctx context.Context, tx *db.Tx, name Limit, count func() (int64, error)) (int64, int64, error) {
	limits, err := readLimits(ctx, tx)
	if err != nil {
		return 0, 0, err
	}
	if name == LimitUsers && limits.MonthlyActiveUsers > 0 {
		if err := checkActive(ctx, tx, limits.MonthlyActiveUsers); err != nil {
			return 0, 0, err
		}
	}
	most := limits.Of(name)
	if most == 0 {
		return 0, 0, nil
	}
	if _, err := tx.Exec(ctx, `INSERT INTO limit_notices (tenant_id, name, period, most, level)
		VALUES ($1, $2, 0, 0, 0) ON CONFLICT (tenant_id, name) DO UPDATE SET name = excluded.name`,
		string(name)); err != nil {
		return 0, 0, err
	}
	n, err := count()
	if err == nil && n >= most {
		err = reached(name, most, tx.Now())
	}
	return most, n, err
}

func readLimits(ctx context.Context, tx *db.Tx) (Limits, error) {
	text, err := db.One(ctx, tx, db.Column[string], `SELECT limits FROM tenants WHERE id = $1`)
	if err != nil {
		return Limits{}, err
	}
	return parseLimits(text)
}

// checkActive fails if the month's active users, as NoteActive has told, have reached their limit.
func checkActive(ctx context.Context, tx *db.Tx, most int64) error {
	full, err := db.List(ctx, tx, db.Column[int64], `SELECT used FROM limit_notices
		WHERE tenant_id = $1 AND name = $2 AND period = $3 AND used >= $4`,
		string(LimitActiveUsers), periodOf(tx.Now()), most)
	if err != nil || len(full) == 0 {
		return err
	}
	return reached(LimitActiveUsers, most, tx.Now())
}

// NoteActive tells how many users were active in the month of the given time. It counts for the
// users that the tenant adds from now on.
func NoteActive(ctx context.Context, tx *db.Tx, at time.Time, used int64) error {
	limits, err := readLimits(ctx, tx)
	most := limits.MonthlyActiveUsers
	if err != nil || most == 0 || periodOf(at) != periodOf(tx.Now()) {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO limit_notices (tenant_id, name, period, most, level, used)
		VALUES ($1, $2, 0, 0, 0, $3) ON CONFLICT (tenant_id, name) DO UPDATE SET used = excluded.used`,
		string(LimitActiveUsers), used); err != nil {
		return err
	}
	return note(ctx, tx, LimitActiveUsers, most, used)
}

// periodOf returns the UTC month in which a limit is told of once: 202612.
func periodOf(t time.Time) int {
	y, m, _ := t.UTC().Date()
	return y*100 + int(m)
}

// Shares of a limit, in percent, at which an event is written.
const (
	nearLimit = 80
	atLimit   = 100
)

// note stores the use of a limit. It writes an audit event when the use reaches 80 % and 100 %,
// once in a month, and again if the limit changed.
func note(ctx context.Context, tx *db.Tx, name Limit, most, used int64) error {
	level, action := 0, ""
	switch {
	case used >= most:
		level, action = atLimit, "limit.reach"
	case used*100 >= most*nearLimit:
		level, action = nearLimit, "limit.near"
	}
	period := periodOf(tx.Now())
	n, err := tx.Exec(ctx, `UPDATE limit_notices SET period = $3, most = $4, level = $5
		WHERE tenant_id = $1 AND name = $2 AND (period <> $3 OR most <> $4 OR level < $5)`,
		string(name), period, most, level)
	if err == nil && n == 1 && level > 0 {
		audit.Write(tx, audit.Event{Action: action, Target: audit.Target{Kind: "limit", Name: string(name)},
			Detail: map[string]any{"limit": most, "used": used}})
	}
	return err
}
