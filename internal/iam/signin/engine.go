package signin

import (
	"context"
	"errors"
	"slices"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Tenants finds the settings of tenants; tenant.Directory is one.
type Tenants interface {
	ByID(ctx context.Context, tenant id.ID) (*tenant.Tenant, error)
}

// Policies answers checks by the platform's own policies; engine.Engine is one.
type Policies interface {
	Check(ctx context.Context, c caller.Caller, in []*enginev1.CheckInput) (engine.Checked, error)
}

// Engine advances flows and tells whether a session is enough. All fields are required. It is safe
// for concurrent use. Its methods run in the door's transaction.
type Engine struct {
	Policies  Policies
	Decisions *decision.Recorder
	Tenants   Tenants
	Clock     clock.Clock
	Sealer    Sealer       // of the flows that browsers carry
	Large     *web.Limiter // of flows that no browser can carry: NewLargeLimiter
}

// Browser is what a browser brings with each request.
type Browser struct {
	Secret string // kit/web's Browser: flows belong to it
	// Tokens may each be of its session. A browser sends several cookies of one name if they have
	// different paths or domains, and does not say which is ours.
	Tokens []string
	// Carried may each be the flow that the request names, sealed by CarryOrStore.
	Carried []string
}

// Standing is where a flow stands: the flow and the facts about its user.
type Standing struct {
	Flow    Flow
	Facts   Facts
	Session *session.Session // the browser's, also if the flow is about another user; nil for none
	Started *Started         // the session that Advance started with this step, or nil

	// Adoptable says that nothing was proved in the flow, but the browser has got a session
	// meanwhile, in another tab, that counts for it.
	Adoptable bool

	proved bool // the facts are older than the flow's last proof
}

// Started is the browser's session under a new token. The door sets the cookie after the commit.
type Started struct {
	Session session.Session
	Token   secret.String
	Lasts   time.Duration // until the session's absolute end
}

// Next returns the step that the flow needs next.
func (s *Standing) Next() Step { return Next(s.Flow, s.Facts) }

// Prove records that u has proved m at now. u was read before the proof was checked: if what u
// proved was ended since, the proof does not count.
func (s *Standing) Prove(u user.User, m *Method, now time.Time) {
	s.Flow.prove(u, m, now)
	s.proved = true
}

// Forget drops who the flow is about and all that was proved ("Not you?").
func (s *Standing) Forget() {
	s.Flow.forget()
	s.Flow.Declined = true
	s.Facts = Facts{}
}

// Adopt credits an Adoptable flow with the browser's session.
func (s *Standing) Adopt(now time.Time) {
	if s.Adoptable && s.Flow.credit(*s.Session, now) {
		s.proved, s.Adoptable = true, false
	}
}

// adoptable reports whether the session on would advance f, in which nothing was proved. A flow
// that was begun for another account, as after a reset, is left alone.
func (e *Engine) adoptable(ctx context.Context, tx *db.Tx, f Flow, on *session.Session) (bool, error) {
	begun := len(f.Proofs) > 0 || f.Declined || !f.Registered.IsZero() || f.Kind == Account && f.LoginHint != ""
	if on == nil || begun || f.Kind == SignOut || !f.credit(*on, tx.Now()) {
		return false, nil
	}
	facts, err := e.readFacts(ctx, tx, &f, on)
	return Next(f, facts) != AskPassword, err
}

// Begin returns where a flow for d would stand that begins in the browser whose session is on (nil
// for none). It stores nothing: if the standing is not Done, Store begins the flow. This is the one
// way to ask whether a session is enough for something.
func (e *Engine) Begin(ctx context.Context, tx *db.Tx, on *session.Session, d Demand) (Standing, error) {
	if on != nil && d.Subject != "" && d.Subject != on.User.String() {
		on = nil
	}
	f, err := newFlow(d, on, tx.Now())
	if err != nil {
		return Standing{}, err
	}
	facts, err := e.readFacts(ctx, tx, &f, on)
	return Standing{Flow: f, Facts: facts, Session: on}, err
}

// BeginWith is Begin in the browser that brings tokens, one of which may be its session's.
func (e *Engine) BeginWith(ctx context.Context, tx *db.Tx, tokens []string, d Demand) (Standing, error) {
	on, err := findSession(ctx, tx, tokens)
	if err != nil {
		return Standing{}, err
	}
	return e.Begin(ctx, tx, on, d)
}

// Read returns where a flow stands: one that is stored, or one that the browser still carries. It
// fails with ErrGone.
func (e *Engine) Read(ctx context.Context, tx *db.Tx, flow id.ID, b Browser) (Standing, error) {
	f, err := e.Load(ctx, tx, flow, b)
	if err != nil {
		return Standing{}, err
	}
	return e.Inspect(ctx, tx, f, b.Tokens...)
}

// Inspect returns where f stands, a flow that was just loaded, in the browser that brings tokens,
// one of which may be its session's.
func (e *Engine) Inspect(ctx context.Context, tx *db.Tx, f Flow, tokens ...string) (Standing, error) {
	on, err := findSession(ctx, tx, tokens)
	if err != nil {
		return Standing{}, err
	}
	if !f.Session.IsZero() && (on == nil || on.ID != f.Session || on.User != f.User) {
		f.Proofs, f.Session = nil, id.ID{} // it has ended
	}
	facts, err := e.readFacts(ctx, tx, &f, on)
	if err != nil {
		return Standing{}, err
	}
	adoptable, err := e.adoptable(ctx, tx, f, on)
	return Standing{Flow: f, Facts: facts, Session: on, Adoptable: adoptable}, err
}

// findSession returns the session that one of the tokens opens, or nil.
func findSession(ctx context.Context, tx *db.Tx, tokens []string) (*session.Session, error) {
	on, err := session.Find(ctx, tx, tokens...)
	if errors.Is(err, session.ErrNone) {
		return nil, nil //nolint:nilnil // most browsers begin without a session, and sessions end
	}
	return &on, err
}

// A Change applies one step to a flow. It reports whether the step was accepted. A refused step
// changes nothing of the flow, but its transaction still commits: counters and audit events must
// survive. It may run more than once.
type Change func(ctx context.Context, tx *db.Tx, s *Standing) (bool, error)

// Advance applies change to the flow that stands at from, and stores it. A nil change is accepted.
// When everything is proved it starts the browser's session, and when the policies refuse the user
// it records that. The caller must set the cookie of Started, because the browser's old token no
// longer counts. Use Store for a change that proves nothing.
//
// Advance begins a flow that is not stored yet. It fails with ErrStale when another step was stored
// since from was read.
func (e *Engine) Advance(ctx context.Context, tx *db.Tx, from Standing, b Browser, change Change) (Standing, error) {
	s := from
	s.Started = nil
	nameActor(tx, &s)
	if change != nil {
		if ok, err := change(ctx, tx, &s); err != nil || !ok {
			return from, err
		}
	}
	var err error
	if s.proved {
		if s.Facts, err = e.readFacts(ctx, tx, &s.Flow, s.Session); err != nil {
			return from, err
		}
		s.proved = false
	}
	nameActor(tx, &s)
	switch s.Next() {
	case StartSession:
		if err := e.startSession(ctx, tx, &s, b.Tokens); err != nil {
			return from, err
		}
	case Refuse:
		e.recordRefusal(tx, &s)
	case AskPassword, AskEmail, AskTOTP, EnrolTOTP, AskConsent, AskSignOut, Done:
	}
	if err := save(ctx, tx, b.Secret, &s); err != nil {
		return from, err
	}
	return s, nil
}

// nameActor makes the flow's user the actor of the transaction, once a proof names that user. Until
// then the actor is anonymous.
func nameActor(tx *db.Tx, s *Standing) {
	if u := s.Facts.User; len(s.Flow.Proofs) > 0 && !u.ID.IsZero() && tx.Caller().Actor.Kind == caller.Anonymous {
		tx.Act(caller.Actor{Kind: caller.User, ID: u.ID, Tenant: tx.Tenant(), Name: u.Login(),
			Session: s.Flow.Session})
	}
}

// Store stores the flow of s where it stands, and begins it if it is not stored yet. It applies no
// step: it starts no session and records no refusal. A proof needs Advance. It fails as Advance
// does.
func (e *Engine) Store(ctx context.Context, tx *db.Tx, s Standing, browser string) (Standing, error) {
	if s.proved {
		return s, fault.New(fault.Internal, "signin.unsettled", "A flow with a new proof needs Advance.")
	}
	s.Started = nil
	err := save(ctx, tx, browser, &s)
	return s, err
}

// startSession makes the browser's session the flow's user's, under a new token. A session that the
// browser had goes on if it was that user's, and ends otherwise.
func (e *Engine) startSession(ctx context.Context, tx *db.Tx, s *Standing, tokens []string) error {
	u := s.Facts.User
	n := session.New{
		User: u.ID, UserName: u.Login(), AMR: s.Flow.amr(), ACR: s.Flow.acr(), AuthTime: s.Flow.authTime(),
		Idle: s.Facts.Verdict.Idle, Max: s.Facts.Verdict.Max, Generation: u.Generation,
	}
	had, err := session.Find(ctx, tx, tokens...)
	if err != nil && !errors.Is(err, session.ErrNone) {
		return err
	}
	var now session.Session
	var fresh secret.String
	if err == nil && had.User == u.ID {
		now, fresh, err = session.Renew(ctx, tx, had.ID, n)
	} else {
		if err == nil {
			if err := logout.End(ctx, tx, had.ID, "replaced"); err != nil && fault.Of(err) != fault.NotFound {
				return err
			}
		}
		now, fresh, err = session.Start(ctx, tx, n)
	}
	if err != nil {
		return err
	}
	s.Flow.Session = now.ID
	s.Started = &Started{Session: now, Token: fresh, Lasts: now.ExpiresAt.Sub(tx.Now())}
	user.SignedIn(tx, u.ID)
	audit.Write(tx, audit.Event{
		Action: "signin.succeed", Target: u.Target(), Outcome: audit.Success,
		Detail: map[string]any{
			"amr": now.AMR, "acr": now.ACR, "session": now.ID.String(), "application": s.Flow.Application.String(),
			"decision": s.Facts.Verdict.decision.ID.String(),
		},
	})
	e.record(tx, s.Facts.Verdict)
	return nil
}

// recordRefusal records that the policies refuse the flow's user, once a flow.
func (e *Engine) recordRefusal(tx *db.Tx, s *Standing) {
	if s.Flow.Refused {
		return
	}
	s.Flow.Refused = true
	reason := "policy"
	if !s.Facts.Verdict.Refused {
		reason = "enrolment"
	}
	audit.Write(tx, audit.Event{
		Action: "signin.refuse", Target: s.Facts.User.Target(), Outcome: audit.Refused,
		Detail: map[string]any{
			"reason": reason, "application": s.Flow.Application.String(),
			"decision": s.Facts.Verdict.decision.ID.String(),
		},
	})
	e.record(tx, s.Facts.Verdict)
}

// Renew gives on a new token after its user changed a credential, and adds the methods proved by
// that. It drops those whose credential was removed. The session's end and idle time can only
// become shorter: the policies limit a renewed session as they limit a new one.
//
// The caller holds the session (HoldSession). So it goes on in a generation that End has begun.
func (e *Engine) Renew(ctx context.Context, tx *db.Tx, on session.Session, proved ...*Method) (Started, error) {
	u, err := user.Get(ctx, tx, on.User)
	if err != nil {
		return Started{}, err
	}
	has, err := credential.Of(ctx, tx, on.User)
	if err != nil {
		return Started{}, err
	}
	on.Generation = u.Generation
	f, err := newFlow(Demand{Kind: Account, ReturnTo: "/"}, &on, tx.Now())
	if err != nil {
		return Started{}, err
	}
	f.Proofs = slices.DeleteFunc(f.Proofs, func(p Proof) bool {
		m := p.method()
		return m.Second != "" && m.Version(has).IsZero()
	})
	for _, m := range proved {
		f.prove(u, m, tx.Now())
	}
	facts, err := e.readFacts(ctx, tx, &f, nil)
	if err != nil {
		return Started{}, err
	}
	now, token, err := session.Renew(ctx, tx, on.ID, session.New{
		User: on.User, UserName: on.UserName, AMR: f.amr(), ACR: f.acr(), AuthTime: on.AuthTime,
		Idle: facts.Verdict.Idle, Max: facts.Verdict.Max, Generation: u.Generation,
	})
	return Started{Session: now, Token: token, Lasts: now.ExpiresAt.Sub(tx.Now())}, err
}
