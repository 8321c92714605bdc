package principal

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Limits of what a replica keeps.
const (
	maxEntries  = 100_000
	maxBytes    = 64 << 20
	readTimeout = 5 * time.Second
	// neverSignedIn is the session_age of those whose sign-in is not known, in seconds: more
	// than any limit that a policy might set.
	neverSignedIn = 1e9
)

// Resolver makes principals from the directory. It is safe for concurrent use.
type Resolver struct {
	db       *db.DB
	versions *tenant.Versions
	clock    clock.Clock
	loads    singleflight.Group

	mu      sync.Mutex
	entries *simplelru.LRU[key, *entry]
	bytes   int
}

type key struct{ tenant, principal id.ID }

// at names the reading of a principal at a version.
func (k key) at(version int64) string {
	return string(k.tenant[:]) + string(k.principal[:]) + strconv.FormatInt(version, 36)
}

// New returns a resolver over d.
func New(d *db.DB, versions *tenant.Versions, c clock.Clock) *Resolver {
	r := &Resolver{db: d, versions: versions, clock: c}
	var err error
	if r.entries, err = simplelru.NewLRU(maxEntries, func(_ key, e *entry) { r.bytes -= e.size }); err != nil { // only for a size below one
		panic("principal: " + err.Error())
	}
	return r
}

// Resolve returns the principal of a question as the engine takes it. One that is denied has
// its id and nothing else. The message may share parts with other answers: it is for reading.
// An error means that the database could not be asked.
func (r *Resolver) Resolve(ctx context.Context, c caller.Caller, ask Ask) (*enginev1.Principal, Outcome, error) {
	if ask.Mode == application.Asserted && ask.User.IsZero() && ask.Asserted != nil {
		return ask.Asserted, Found, nil
	}
	holder := ask.User
	if holder.IsZero() {
		holder = ask.Application
	}
	p := &enginev1.Principal{Id: ask.Asserted.GetId(), PolicyVersion: ask.Asserted.GetPolicyVersion(), Scope: ask.Asserted.GetScope()}
	about := holder
	if p.Id == "" {
		p.Id = holder.String()
	} else if named, err := id.Parse(p.Id); err != nil {
		about = id.ID{} // nobody has such an id
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

// fill adds what the directory says of a principal, and what ask does; own says whether the principal asks
// about itself.
func (r *Resolver) fill(p *enginev1.Principal, e *entry, ask Ask, own bool) {
	p.Roles = e.roles
	p.Attr = make(map[string]*structpb.Value, len(e.attr)+5)
	for name, v := range e.attr {
		p.Attr[name] = v
	}
	p.Attr["request"] = structpb.NewStructValue(&structpb.Struct{Fields: ask.Asserted.GetAttr()})
	r.assure(p.Attr, ask, own)
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

// assure adds what is known of the sign-in behind the token, when it is the principal's own.
func (r *Resolver) assure(attr map[string]*structpb.Value, ask Ask, own bool) {
	attr["amr"], attr["acr"], attr["auth_time"], attr["session_age"] = noMethods, noClass, noTime, noSession
	if !own || ask.AuthTime.IsZero() {
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

// version returns that of the tenant's principals at this moment, or what everybody in the tenant is.
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

// at returns what the directory says of a principal at a version, or later.
func (r *Resolver) at(ctx context.Context, c caller.Caller, principal id.ID, version int64) (*entry, error) {
	k := key{c.Tenant, principal}
	if e, ok := r.kept(k); ok && e.valid(version, r.clock.Now()) {
		return e, nil
	}
	e, err := r.load(ctx, c, k, version)
	if err == nil && !e.lasts(r.clock.Now()) {
		// A role ended while it was read, or before we joined a reading that another began.
		e, err = r.load(ctx, c, k, version)
	}
	return e, err
}

// load reads an entry. Those who found the same version share one reading: it began after the
// version was read, so what it finds is never older. Nothing is kept of whom the directory does
// not know, so that making a user need not move the version, and inventing ids fills nothing.
func (r *Resolver) load(ctx context.Context, c caller.Caller, k key, version int64) (*entry, error) {
	v, err, _ := r.loads.Do(k.at(version), func() (any, error) {
		// The others who wait have not gone away, and none of them waits for a dead connection.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		e, err := db.Read(ctx, r.db, c, func(tx *db.Tx) (*entry, error) { return read(ctx, tx, k.principal) })
		if err == nil && e.outcome != Unknown {
			r.keep(k, e)
		}
		return e, err
	})
	if err != nil {
		return nil, err
	}
	return v.(*entry), nil
}

func (r *Resolver) kept(k key) (*entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries.Get(k)
}

// keep stores an entry and forgets those not used for longest until all fit.
func (r *Resolver) keep(k key, e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries.Remove(k)
	r.entries.Add(k, e)
	r.bytes += e.size
	for r.bytes > maxBytes && r.entries.Len() > 1 {
		r.entries.RemoveOldest()
	}
}
