package principal

import (
	"context"
	"errors"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Limits of what a replica keeps.
const (
	maxBytes    = 64 << 20
	minSize     = maxBytes/100_000 + 1 // bytes that one entry counts for: at most 100,000 are kept
	readTimeout = 5 * time.Second
	// neverSignedIn is the session_age of a principal whose sign-in is not known, in seconds: more
	// than any limit that a policy might set.
	neverSignedIn = 1e9
)

// Resolver resolves principals in the directory. It is safe for concurrent use.
type Resolver struct {
	db       *db.DB
	versions *tenant.Versions
	clock    clock.Clock
	entries  *cache.Cache[id.ID, *entry] // by principal
}

// New returns a resolver over d.
func New(d *db.DB, versions *tenant.Versions, c clock.Clock) *Resolver {
	r := &Resolver{db: d, versions: versions, clock: c}
	r.entries = cache.New[id.ID](cache.Options[*entry]{
		Max:       maxBytes,
		Cost:      func(e *entry) int64 { return max(int64(e.size), minSize) },
		Valid:     func(e *entry) bool { return e.lasts(r.clock.Now()) },
		LoadLimit: readTimeout,
	})
	return r
}

// Resolve returns the principal of a request as the engine takes it. A denied principal has its id
// alone. The message may share parts with other answers: do not change it. An error means that the
// database could not be read.
func (r *Resolver) Resolve(ctx context.Context, c caller.Caller, ask Ask) (*enginev1.Principal, Outcome, error) {
	if ask.Mode == application.Asserted && ask.User.IsZero() && ask.Asserted != nil {
		return ask.Asserted, Found, nil
	}
	holder := ask.User
	if holder.IsZero() {
		holder = ask.Application
	}
	p := &enginev1.Principal{Id: ask.Asserted.GetId(), PolicyVersion: ask.Asserted.GetPolicyVersion(),
		Scope: ask.Asserted.GetScope()}
	about := holder
	if p.Id == "" {
		p.Id = holder.String()
	} else if named, err := id.Parse(p.Id); err != nil {
		about = id.ID{} // no principal has it
	} else {
		about, p.Id = named, named.String() // one spelling, whatever the case of its letters
	}
	if !ask.User.IsZero() && about != ask.User {
		return p, Another, nil
	}
	e, err := r.entry(ctx, c, about)
	if err != nil || e.outcome != Found {
		return p, outcomeOf(e), err
	}
	r.fill(p, e, ask, about == holder)
	return p, Found, nil
}

// fill adds to a principal what the directory and ask say about it. ofItself reports whether the
// principal asks about itself.
func (r *Resolver) fill(p *enginev1.Principal, e *entry, ask Ask, ofItself bool) {
	p.Roles = e.roles
	p.Attr = make(map[string]*structpb.Value, len(e.attr)+5)
	for name, v := range e.attr {
		p.Attr[name] = v
	}
	p.Attr["request"] = structpb.NewStructValue(&structpb.Struct{Fields: ask.Asserted.GetAttr()})
	r.assure(p.Attr, ask, ofItself)
}

func outcomeOf(e *entry) Outcome {
	if e == nil {
		return Unknown
	}
	return e.outcome
}

var (
	noMethods = structpb.NewListValue(&structpb.ListValue{})
	noClass   = structpb.NewStringValue("")
	noTime    = structpb.NewNumberValue(0)
	noSession = structpb.NewNumberValue(neverSignedIn)
)

// assure adds the sign-in behind the token, if the token is the principal's own.
func (r *Resolver) assure(attr map[string]*structpb.Value, ask Ask, ofItself bool) {
	attr["amr"], attr["acr"], attr["auth_time"], attr["session_age"] = noMethods, noClass, noTime, noSession
	if !ofItself || ask.AuthTime.IsZero() {
		return
	}
	methods := &structpb.ListValue{Values: make([]*structpb.Value, len(ask.AMR))}
	for i, m := range ask.AMR {
		methods.Values[i] = structpb.NewStringValue(m)
	}
	attr["amr"], attr["acr"] = structpb.NewListValue(methods), structpb.NewStringValue(ask.ACR)
	attr["auth_time"] = structpb.NewNumberValue(float64(ask.AuthTime.Unix()))
	age := max(0, r.clock.Now().Sub(ask.AuthTime)/time.Second)
	attr["session_age"] = structpb.NewNumberValue(float64(age))
}

// entry returns what the directory says of a principal at this moment.
func (r *Resolver) entry(ctx context.Context, c caller.Caller, principal id.ID) (*entry, error) {
	version, denied, err := r.version(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case denied != nil:
		return denied, nil
	case principal.IsZero():
		return &entry{outcome: Unknown}, nil
	}
	return r.at(ctx, c, principal, version)
}

// version returns that of the tenant's principals at this moment, or what everybody in the tenant
// is.
func (r *Resolver) version(ctx context.Context, c caller.Caller) (int64, *entry, error) {
	version, err := r.versions.Read(ctx, c.Tenant)
	switch {
	case errors.Is(err, tenant.ErrNotFound):
		return 0, &entry{outcome: Unknown}, nil
	case err != nil:
		return 0, nil, err
	case !version.Active:
		return 0, &entry{outcome: Suspended}, nil
	}
	return version.Principals, nil, nil
}

// errUnknown ends the load of a principal that the directory does not know. An error is not kept,
// so that creating a user need not move the version, and invented ids fill nothing.
var errUnknown = errors.New("principal: unknown")

// at returns what the directory says of a principal at a version, or later. Callers that found the
// same version share one read: it began after the version was read, so it is never older.
func (r *Resolver) at(ctx context.Context, c caller.Caller, principal id.ID, version int64) (*entry, error) {
	if e, ok := r.entries.LookupAt(c.Tenant, principal, version); ok {
		return e, nil
	}
	e, err := r.entries.GetAt(ctx, c.Tenant, principal, version, func(ctx context.Context) (*entry, error) {
		e, err := db.Read(ctx, r.db, c, func(tx *db.Tx) (*entry, error) { return read(ctx, tx, principal) })
		if err == nil && e.outcome == Unknown {
			err = errUnknown
		}
		return e, err
	})
	if errors.Is(err, errUnknown) {
		return &entry{outcome: Unknown}, nil
	}
	return e, err
}
