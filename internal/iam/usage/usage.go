package usage

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// Metric is something that is counted.
type Metric string

// The metrics.
const (
	SignIns          Metric = "signins"
	SignInsRefused   Metric = "signins_refused"
	ActiveUsers      Metric = "active_users"
	Tokens           Metric = "tokens"
	DecisionsAllowed Metric = "decisions_allowed"
	DecisionsDenied  Metric = "decisions_denied"
	ManagementCalls  Metric = "management_calls"
	Mails            Metric = "mails"
	Users            Metric = "users"
	Applications     Metric = "applications"
	Groups           Metric = "groups"
)

// tokensBy are the metrics of the grant types. Tokens is their sum.
var tokensBy = map[string]Metric{
	"authorization_code": "tokens_authorization_code",
	"refresh_token":      "tokens_refresh_token",
	"client_credentials": "tokens_client_credentials",
	"urn:ietf:params:oauth:grant-type:device_code": "tokens_device_code",
}

// Metrics lists all metrics, in the order of a table's columns.
var Metrics = []Metric{SignIns, SignInsRefused, ActiveUsers, Tokens, "tokens_authorization_code",
	"tokens_refresh_token", "tokens_client_credentials", "tokens_device_code", DecisionsAllowed, DecisionsDenied,
	ManagementCalls, Mails, Users, Applications, Groups}

// level reports whether m counts what there is at the end of a day. Other metrics count what
// happened on it.
func (m Metric) level() bool { return m == Users || m == Applications || m == Groups }

// Counts has the value of each metric. A metric that it lacks is 0.
type Counts map[Metric]int64

// levels are the metrics of what there is, with the audit events that change them.
var levels = []struct {
	metric          Metric
	create, destroy string // actions
	query           string // counts what there is at the end of a time, $2
}{
	{Users, "user.create", "user.delete", levelOf("users", "user")},
	{Applications, "application.create", "application.delete", levelOf("applications", "application")},
	{Groups, "group.create", "group.delete", levelOf("groups", "group")},
}

// levelOf counts the rows of a table as they were at $2: those of now, without those created since,
// and with those deleted since. One statement sees one moment.
func levelOf(table, noun string) string {
	events := `(SELECT count(*) FROM audit_events WHERE tenant_id = $1 AND at >= $2 AND action = '` + noun
	return `SELECT (SELECT count(*) FROM ` + table + ` WHERE tenant_id = $1) - ` + events + `.create') + ` +
		events + `.delete')`
}

// count counts the records of a time within one day, from inclusive and to exclusive. It returns
// every metric but active users and levels, and which levels changed.
func count(ctx context.Context, tx *db.Tx, from, to time.Time) (Counts, map[Metric]int64, error) {
	c, changed := Counts{}, map[Metric]int64{}
	events, err := audit.CountEvents(ctx, tx, from, to, "signin.succeed", "signin.refuse", "user.create",
		"user.delete", "application.create", "application.delete", "group.create", "group.delete")
	if err != nil {
		return nil, nil, err
	}
	for _, e := range events {
		switch e.Action {
		case "signin.succeed":
			c[SignIns] += e.N
		case "signin.refuse":
			c[SignInsRefused] += e.N
		}
		for _, l := range levels {
			switch e.Action {
			case l.create:
				changed[l.metric] += e.N
			case l.destroy:
				changed[l.metric] -= e.N
			}
		}
	}
	access, err := audit.CountAccess(ctx, tx, from, to)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range access {
		switch a.Action {
		case "token.issue":
			c[Tokens] += a.N
			if m := tokensBy[a.GrantType]; m != "" {
				c[m] += a.N
			}
		case MailSent:
			c[Mails] += a.N
		}
	}
	decided, err := decision.Count(ctx, tx, from, to)
	c[DecisionsAllowed], c[DecisionsDenied], c[ManagementCalls] = decided.Allowed, decided.Denied, decided.Calls
	return c, changed, err
}

// MailSent is the action of the access record of a mail that the mail server took.
const MailSent = "mail.send"

// Day is a UTC day as a number: 20261231.
type Day int

func dayOf(t time.Time) Day {
	y, m, d := t.UTC().Date()
	return Day(y*10000 + int(m)*100 + d)
}

func (d Day) start() time.Time {
	return time.Date(int(d)/10000, time.Month(int(d)/100%100), int(d)%100, 0, 0, 0, 0, time.UTC)
}

func (d Day) end() time.Time { return d.start().AddDate(0, 0, 1) }

func (d Day) String() string { return d.start().Format(time.DateOnly) }

// month returns the month of the day: 202612.
func (d Day) month() Month { return Month(d / 100) }

// bit is the day's bit in usage_people.
func (d Day) bit() int64 { return 1 << (d % 100) }

// Month is a UTC month as a number: 202612.
type Month int

const monthLayout = "2006-01"

func monthOf(t time.Time) Month { return dayOf(t).month() }

func (m Month) String() string { return Day(m*100 + 1).start().Format(monthLayout) }

// days returns the days from one to another, both inclusive.
func days(from, to Day) []Day {
	var out []Day
	for d := from; d <= to; d = dayOf(d.end()) {
		out = append(out, d)
	}
	return out
}
