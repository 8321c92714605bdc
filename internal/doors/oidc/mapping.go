package oidc

import (
	"context"
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/claim"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// mappingFailed is the audit event of mappings that had no value for a person.
const mappingFailed = "mapping.fail"

// noteMappings records the mappings of an application that failed. Their claims are missing, and
// nothing else tells the operator. A replica writes one event a minute for an application.
func (d *Door) noteMappings(ctx context.Context, c caller.Caller, app *application.Application, about *claim.About) {
	var failed []string
	var first error
	for _, m := range about.Mapped() {
		if m.Err != nil {
			failed = append(failed, m.Claim)
			if first == nil {
				first = fmt.Errorf("mapping of %q: %w", m.Claim, m.Err)
			}
		}
	}
	if first == nil {
		return
	}
	write, more := d.refused.AllowActor(c.Tenant, app.ID, mappingFailed, d.Clock.Now())
	if !write {
		return
	}
	web.NoteError(ctx, first)
	detail := map[string]any{"claims": failed, "reason": cut(first.Error())}
	if more > 0 {
		detail["not_recorded"] = more // since the event before
	}
	if err := d.DB.Update(ctx, c, func(tx *db.Tx) error {
		audit.Write(tx, audit.Event{Action: mappingFailed, Target: app.Target(), Outcome: audit.Refused,
			Detail: detail})
		return nil
	}); err != nil {
		web.NoteError(ctx, err)
	}
}
