package usage

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

const (
	defaultDays = 30
	maxDays     = 366
	tag         = api.Tag("Usage")
)

// View is the answer: the days of one tenant, or the tenants of one month.
type View struct {
	From         string      `json:"from" format:"date" doc:"The first day."`
	To           string      `json:"to" format:"date" doc:"The last day."`
	CountedUntil time.Time   `json:"counted_until,omitzero" doc:"What happened before is counted. Absent with month: each tenant is counted every hour."`
	Items        []ItemView  `json:"items" doc:"One for each day, the oldest first. With month, one for each tenant, the largest value of sort first."`
	Months       []MonthView `json:"months,omitempty" doc:"The months that the days belong to. Absent with month."`
	NextCursor   string      `json:"next_cursor,omitempty" doc:"Give it as cursor to get the next page; absent on the last page."`

	metrics []Metric
}

// ItemView has the values of a day or of a tenant.
type ItemView struct {
	Day      string           `json:"day,omitempty" format:"date"`
	TenantID string           `json:"tenant_id,omitempty" format:"uuid"`
	Slug     string           `json:"slug,omitempty"`
	Name     string           `json:"name,omitempty"`
	Values   map[string]int64 `json:"values" doc:"The value of each metric."`
}

// MonthView counts the distinct people of a month, which the days do not add up to.
type MonthView struct {
	Month       string `json:"month" example:"2026-12"`
	ActiveUsers int64  `json:"active_users" doc:"People who were active on at least one day of the month so far."`
}

// Table implements api.Table.
func (v View) Table() [][]string {
	head := []string{"day"}
	if len(v.Months) == 0 {
		head = []string{"tenant_id", "slug", "name"}
	}
	keys := len(head)
	for _, m := range v.metrics {
		head = append(head, string(m))
	}
	rows := [][]string{head}
	for _, i := range v.Items {
		row := []string{i.Day}
		if keys > 1 {
			row = []string{i.TenantID, i.Slug, i.Name}
		}
		for _, m := range v.metrics {
			row = append(row, strconv.FormatInt(i.Values[string(m)], 10))
		}
		rows = append(rows, row)
	}
	return rows
}

type input struct {
	From    string `query:"from" format:"date" doc:"The first UTC day. 29 days before to, if absent." example:"2026-12-01"`
	To      string `query:"to" format:"date" doc:"The last UTC day. Today, if absent. At most 366 days." example:"2026-12-31"`
	Metrics string `query:"metrics" maxLength:"500" doc:"The metrics to show, separated by commas. All, if absent." example:"signins,active_users"`
	Month   string `query:"month" maxLength:"7" doc:"A UTC month. Every tenant's usage in it, of the platform tenant only. Excludes from and to." example:"2026-12"`
	Sort    string `query:"sort" maxLength:"40" doc:"The metric by which the tenants are sorted. With month only." default:"active_users"`
	api.Page
}

// Operations returns the operations on usage and limits. The platform tenant sees every tenant's.
func Operations(platform id.ID) []api.Operation {
	return []api.Operation{
		api.Call(tag.Op("GET", "/usage", "get-usage", "usage.read", "Get the usage",
			"Counts of each UTC day: "+names()+".",
			"users, applications and groups are those at the end of the day.",
			"A person is active who signed in, or for whom an application got tokens.",
			"Answers CSV for `Accept: text/csv`."),
			func(ctx context.Context, d *db.DB, req api.Request, in *input) (View, error) {
				metrics, err := in.metrics()
				if err != nil {
					return View{}, err
				}
				if in.Month != "" {
					return in.month(ctx, d, req, platform, metrics)
				}
				return in.days(ctx, d, req, metrics)
			}),
		api.Read(tag.Op("GET", "/limits", "get-limits", "usage.read", "Get the tenant's limits",
			"What the platform lets the tenant have, and how much of it is used.",
			"The platform sets limits with the tenant."),
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *struct{}) (page.List[LimitView], error) {
				return readLimits(ctx, tx)
			}),
	}
}

func names() string {
	list := make([]string, len(Metrics))
	for i, m := range Metrics {
		list[i] = string(m)
	}
	return strings.Join(list, ", ")
}

func (in *input) metrics() ([]Metric, error) {
	if in.Metrics == "" {
		return Metrics, nil
	}
	var out []Metric
	for name := range strings.SplitSeq(in.Metrics, ",") {
		m := Metric(strings.TrimSpace(name))
		if !slices.Contains(Metrics, m) {
			return nil, fault.InvalidField("request.invalid", "metrics", "%.40q is not a metric. There are: %s.", m,
				names())
		}
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out, nil
}

// days answers the days of the caller's tenant.
func (in *input) days(ctx context.Context, d *db.DB, req api.Request, metrics []Metric) (View, error) {
	if in.Cursor != "" {
		return View{}, fault.InvalidField("request.invalid", "cursor", "Days are not paged. Give month too.")
	}
	return db.Read(ctx, d, req.Caller, func(tx *db.Tx) (View, error) {
		from, to, err := in.span(tx.Now())
		if err != nil {
			return View{}, err
		}
		r, err := Read(ctx, tx, from, to)
		if err != nil {
			return View{}, err
		}
		v := View{From: from.String(), To: to.String(), CountedUntil: r.Until, Items: []ItemView{}, metrics: metrics}
		for _, day := range days(from, to) {
			v.Items = append(v.Items, ItemView{Day: day.String(), Values: r.Days[day].of(metrics)})
			if n := len(v.Months); n == 0 || v.Months[n-1].Month != day.month().String() {
				v.Months = append(v.Months, MonthView{Month: day.month().String(), ActiveUsers: r.Months[day.month()]})
			}
		}
		return v, nil
	})
}

// span returns the days that the input asks for, up to today.
func (in *input) span(now time.Time) (Day, Day, error) {
	var wrong fault.Fields
	day := func(name, text string, otherwise Day) Day {
		if text == "" {
			return otherwise
		}
		t, err := time.Parse(time.DateOnly, text)
		if err != nil || t.Year() < 2000 || t.Year() > 9999 {
			wrong.Add(name, "This must be a UTC day such as %s.", dayOf(now))
			return otherwise
		}
		return dayOf(t)
	}
	to := min(day("to", in.To, dayOf(now)), dayOf(now))
	from := day("from", in.From, dayOf(to.start().AddDate(0, 0, 1-defaultDays)))
	if len(wrong) == 0 {
		switch span := int(to.start().Sub(from.start())/(24*time.Hour)) + 1; {
		case span < 1:
			wrong.Add("from", "This must not be after to, nor after today, %s.", dayOf(now))
		case span > maxDays:
			wrong.Add("from", "Ask for at most %d days at once. These are %d.", maxDays, span)
		}
	}
	return from, to, wrong.Err("request.invalid")
}

// month answers every tenant's month to the platform.
func (in *input) month(ctx context.Context, d *db.DB, req api.Request, platform id.ID, metrics []Metric) (View, error) {
	first, err := time.Parse(monthLayout, in.Month)
	r, perr := in.Request()
	var wrong fault.Fields
	switch {
	case req.Caller.Tenant != platform:
		wrong.Add("month", "Only the platform tenant lists the usage of tenants by month. Give from and to.")
	case err != nil || first.Year() < 2000:
		wrong.Add("month", "This must be a month such as 2026-12.")
	}
	if in.From != "" {
		wrong.Add("from", "Leave this out with month.")
	}
	if in.To != "" {
		wrong.Add("to", "Leave this out with month.")
	}
	by := Metric(in.Sort)
	if !slices.Contains(Metrics, by) {
		wrong.Add("sort", "%.40q is not a metric. There are: %s.", in.Sort, names())
	}
	if err := wrong.Err("request.invalid"); err != nil {
		return View{}, err
	}
	if perr != nil {
		return View{}, perr
	}
	rows, err := db.SystemRead(ctx, d, req.Caller, "the platform lists the usage of tenants",
		func(st *db.SystemTx) ([]Row, error) {
			return List(ctx, st, monthOf(first), by, r.After, r.Fetch())
		})
	if err != nil {
		return View{}, err
	}
	list := page.Of(r, rows, func(row Row) id.ID { return row.Tenant })
	v := View{From: dayOf(first).String(), To: dayOf(first.AddDate(0, 1, -1)).String(), Items: []ItemView{},
		NextCursor: list.NextCursor, metrics: metrics}
	for _, row := range list.Items {
		v.Items = append(v.Items, ItemView{TenantID: row.Tenant.String(), Slug: row.Slug, Name: row.Name,
			Values: row.Values.of(metrics)})
	}
	return v, nil
}

// of returns the values of metrics by name.
func (c Counts) of(metrics []Metric) map[string]int64 {
	out := make(map[string]int64, len(metrics))
	for _, m := range metrics {
		out[string(m)] = c[m]
	}
	return out
}
