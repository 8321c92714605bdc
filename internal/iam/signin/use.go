package signin

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// use is what an application shows of an earlier sign-in: a refresh token or an access token.
type use struct {
	user, application id.ID
	amr               []string
	authTime          time.Time
	address           string // where the person signed in; "" if it is not known
	offline           bool   // it outlives the session, so a limit of the session does not end it
}

// AllowsGrant reports whether the rules of signing in still allow what a grant gives. Only the
// person's network is that of the sign-in: the request comes from the application's.
func (e *Engine) AllowsGrant(ctx context.Context, tx *db.Tx, g grant.Grant) (bool, error) {
	err := e.check(ctx, tx, use{g.User, g.Application, g.AMR, g.AuthTime, g.Address, g.Offline})
	return allowed(err)
}

// AllowsToken is AllowsGrant for the access token of a user.
func (e *Engine) AllowsToken(ctx context.Context, tx *db.Tx, t grant.Token) (bool, error) {
	return allowed(e.CheckToken(ctx, tx, t))
}

// CheckToken fails with grant.ErrToken unless the rules of signing in still allow the access token
// of a user. It fails with grant.ErrStepUp if a stronger or a fresher sign-in is all that they ask.
func (e *Engine) CheckToken(ctx context.Context, tx *db.Tx, t grant.Token) error {
	return e.check(ctx, tx, use{t.User, t.Application, t.AMR, t.AuthTime, t.Address, t.Offline})
}

// allowed returns the answer of check as a yes or no.
func allowed(err error) (bool, error) {
	if errors.Is(err, grant.ErrToken) || errors.Is(err, grant.ErrStepUp) {
		return false, nil
	}
	return err == nil, err
}

// AllowsSession returns the session that tokens open if it is enough for its user's account pages,
// and session.ErrNone otherwise. A proxy asks this with each of its requests. So a tenant without
// rules costs one query and no evaluation. The answer is that of BeginWith.
func (e *Engine) AllowsSession(ctx context.Context, tx *db.Tx, tokens []string) (session.Session, error) {
	on, err := session.Find(ctx, tx, tokens...)
	if err != nil {
		return session.Session{}, err
	}
	return on, e.enough(ctx, tx, on, Demand{Kind: Account, ReturnTo: "/account"})
}

// ToConsole is the demand of a person who goes to the admin console. The door finishes its flow.
func ToConsole(request []byte) Demand {
	return Demand{Kind: Console, Application: application.ConsoleID, Request: request, ReturnTo: ConsoleReturn}
}

// ConsoleReturn is where a flow to the admin console returns to.
const ConsoleReturn = "/console/continue"

// CheckConsole fails with session.ErrNone unless a session is enough for the admin console. It is
// asked with each call.
func (e *Engine) CheckConsole(ctx context.Context, tx *db.Tx, on session.Session) error {
	return e.enough(ctx, tx, on, ToConsole(nil))
}

// enough fails with session.ErrNone unless a session is enough for what d demands of any session.
func (e *Engine) enough(ctx context.Context, tx *db.Tx, on session.Session, d Demand) error {
	of, err := e.Tenants.ByID(ctx, tx.Tenant())
	if err != nil {
		return err
	}
	enough := lasts(on, of, tx.Now())
	if ruled(of.Settings) {
		s, err := e.Begin(ctx, tx, &on, d)
		if err != nil {
			return err
		}
		enough = s.Next() == Done
	}
	if !enough {
		return session.ErrNone
	}
	return nil
}

// lasts reports whether a session counts in a tenant without rules: within the tenant's limits, and
// with the second factor if its user has set one up since.
func lasts(on session.Session, of *tenant.Tenant, now time.Time) bool {
	limits := Verdict{Idle: of.Settings.SessionIdle(), Max: of.Settings.SessionMax()}
	return !limits.outlived(&on, now) && on.AuthTime.After(of.SignedOutAt) &&
		(!on.SecondFactor || LevelOf(on.AMR) == TwoFactors)
}

// ruled reports whether a tenant's settings can refuse a sign-in, or ask for more than a password.
func ruled(s tenant.Settings) bool { return s.MFA == tenant.MFARequired || !s.SignIn.Empty() }

func (e *Engine) check(ctx context.Context, tx *db.Tx, u use) error {
	of, err := e.Tenants.ByID(ctx, tx.Tenant())
	if err != nil || !ruled(of.Settings) {
		return err
	}
	from, err := netip.ParseAddr(u.address)
	v, askErr := e.ask(ctx, tx, asked{u.user, u.application, u.amr, from, err == nil})
	if askErr != nil {
		return askErr
	}
	strong, fresh := v.satisfied(LevelOf(u.amr)), u.offline || tx.Now().Sub(u.authTime) <= v.Max
	if !v.Refused && strong && fresh {
		return nil
	}
	c := tx.Caller() // recorded also if tx only reads, or is rolled back because of the refusal
	tx.AtEnd(func() { e.Decisions.Record(c, v.decision) })
	if v.Refused {
		return grant.ErrToken.Because(errors.New("the rules of signing in refuse its person"))
	}
	need := &grant.StepUp{}
	if !strong {
		need.ACR = TwoFactors
	}
	if !fresh {
		need.MaxAge = v.Max
	}
	return grant.ErrStepUp.Because(need)
}

// Hold locks the flow's user before a step changes a credential, until the transaction ends. It
// fails with ErrStale if what was proved no longer leads to this step.
func (e *Engine) Hold(ctx context.Context, tx *db.Tx, s *Standing) error {
	before := s.Next()
	if _, err := user.Hold(ctx, tx, s.Flow.User); err != nil {
		return instead(err, user.ErrNotFound, ErrStale)
	}
	var err error
	if s.Facts, err = e.readFacts(ctx, tx, &s.Flow, s.Session); err != nil {
		return err
	}
	if s.Next() != before {
		return ErrStale
	}
	return nil
}

// HoldSession locks the user of a session before a page changes a credential, until the transaction
// ends. It fails with session.ErrNone if the session no longer counts.
func HoldSession(ctx context.Context, tx *db.Tx, on session.Session) error {
	if _, err := user.Hold(ctx, tx, on.User); err != nil {
		return instead(err, user.ErrNotFound, session.ErrNone)
	}
	_, err := session.Get(ctx, tx, on.ID)
	return instead(err, session.ErrNotFound, session.ErrNone)
}

// instead returns answer if err is missing, and every other error as it is. A database that was
// lost or busy says nothing of the person, and must not ask for a new sign-in.
func instead(err error, missing, answer *fault.Fault) error {
	if errors.Is(err, missing) {
		return answer.Because(err)
	}
	return err
}
