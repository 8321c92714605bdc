package usage

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// LimitView is one limit of a tenant and how much of it is used.
type LimitView struct {
	Name     string    `json:"name" example:"users"`
	Limit    int64     `json:"limit" doc:"0: no limit. The platform sets it."`
	Used     int64     `json:"used"`
	ResetsAt time.Time `json:"resets_at,omitzero" doc:"When used begins at 0 again. Absent for what does not reset."`
}

// readLimits returns the tenant's limits with their use.
func readLimits(ctx context.Context, tx *db.Tx) (page.List[LimitView], error) {
	t, err := tenant.Get(ctx, tx)
	if err != nil {
		return page.List[LimitView]{}, err
	}
	today := dayOf(tx.Now())
	r, err := Read(ctx, tx, today, today)
	if err != nil {
		return page.List[LimitView]{}, err
	}
	used := map[tenant.Limit]int64{
		tenant.LimitUsers:        r.Days[today][Users],
		tenant.LimitApplications: r.Days[today][Applications],
		tenant.LimitActiveUsers:  r.Months[today.month()],
	}
	l := page.List[LimitView]{Items: []LimitView{}}
	for _, name := range tenant.LimitNames {
		l.Items = append(l.Items, LimitView{Name: string(name), Limit: t.Limits.Of(name), Used: used[name],
			ResetsAt: name.Resets(tx.Now())})
	}
	return l, nil
}
