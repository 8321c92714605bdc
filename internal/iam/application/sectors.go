package application

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/outbound"
)

// errSectorBusy refuses a caller that has another call in progress, or whose tenant has many.
var errSectorBusy = fault.New(fault.Limited, "application.sector_busy", "You have another call that reads a "+
	"sector_identifier_uri, or your tenant has several. Wait for it to end, then try again.")

// Sectors reads the documents of sectors for callers of the management API. A caller reads one at a
// time. It is safe for concurrent use.
type Sectors struct {
	db      *db.DB
	calls   *outbound.Client
	clock   clock.Clock
	refused *audit.Refusals
}

// NewSectors returns a reader of documents. calls is a client for nothing else.
func NewSectors(d *db.DB, calls *outbound.Client, c clock.Clock) *Sectors {
	return &Sectors{db: d, calls: calls, clock: c, refused: audit.NewRefusals()}
}

// ofNew reads the document that a new application needs.
func (s *Sectors) ofNew(ctx context.Context, c caller.Caller, n New) (Sector, error) {
	if n.SectorIdentifierURI == "" {
		return Sector{}, nil
	}
	a, err := n.checked()
	if err != nil {
		return Sector{}, err
	}
	return s.of(ctx, c, &a, audit.Target{Kind: "application", Name: a.Name})
}

// sectorOf reads the document that a change of an application needs.
func (d Deps) sectorOf(ctx context.Context, req api.Request, in *patchInput) (Sector, error) {
	p := in.patch()
	if p.SectorIdentifierURI == nil && p.RedirectURIs == nil {
		return Sector{}, nil
	}
	before, err := d.ByID(ctx, req.Caller, in.ID)
	if err != nil {
		return Sector{}, err
	}
	after := *before
	after.Mappings = slices.Clone(before.Mappings) // check fills in what they lack
	if p.apply(&after); after.SectorIdentifierURI == "" || !after.namesOtherURIs(before) {
		return Sector{}, nil
	}
	if err := after.check(""); err != nil {
		return Sector{}, err
	}
	if err := mayChange(role.Of(req.Rights), before, &after); err != nil {
		return Sector{}, err
	}
	return d.Sectors.of(ctx, req.Caller, &after, before.Target())
}

// of reads the document of a valid application's sector. It fails with a fault that names
// sector_identifier_uri, or the redirect URI that the document lacks. The audit log has the
// failure.
func (s *Sectors) of(ctx context.Context, c caller.Caller, a *Application, target audit.Target) (Sector, error) {
	sector, err := s.read(ctx, c, a.SectorIdentifierURI)
	if err == nil {
		err = sector.shows(a)
	}
	if err != nil {
		if failed := s.note(ctx, c, a, target, err); failed != nil {
			return Sector{}, failed
		}
	}
	return sector, err
}

// sectorRefused is the audit event of a document that could not be read, or lacked an address.
const sectorRefused = "sector.refuse"

// Bounds of the audit event.
const (
	maxNotedURI = 256 // bytes
	noteTime    = 5 * time.Second
)

// note records in the audit log that a document was refused. A replica writes one event a minute
// for an actor. A caller that has left has an event too.
func (s *Sectors) note(ctx context.Context, c caller.Caller, a *Application, target audit.Target, refused error) error {
	write, more := s.refused.AllowActor(c.Tenant, c.Actor.ID, sectorRefused, s.clock.Now())
	if !write {
		return nil
	}
	f := fault.As(refused)
	detail := map[string]any{"code": f.Code, "reason": f.Reason,
		"sector_identifier_uri": a.SectorIdentifierURI[:min(len(a.SectorIdentifierURI), maxNotedURI)]}
	if more > 0 {
		detail["not_recorded"] = more // since the event before
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	return s.db.Update(ctx, c, func(tx *db.Tx) error {
		audit.Write(tx, audit.Event{Action: sectorRefused, Target: target, Outcome: audit.Refused, Detail: detail})
		return nil
	})
}

// read reads a document. A caller that has another call in progress is refused.
func (s *Sectors) read(ctx context.Context, c caller.Caller, uri string) (Sector, error) {
	var lists []string
	body, err := s.calls.ReadJSON(ctx, c.Tenant, outbound.Request{URL: uri, Accept: "application/json", By: c.Actor.ID})
	if errors.Is(err, outbound.ErrBusy) {
		return Sector{}, errSectorBusy
	}
	if err == nil && json.Unmarshal(body, &lists) != nil {
		err = &outbound.Error{Reason: "The answer is not a JSON array of redirect URIs."}
	}
	if e, ok := errors.AsType[*outbound.Error](err); ok {
		return Sector{}, fault.InvalidField("application.invalid", "sector_identifier_uri", "%s", e.Reason).Because(err)
	}
	return Sector{uri, lists}, err
}
