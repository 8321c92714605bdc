package signin

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Facts are what Next has to know besides the flow: what is true of the flow's user at this
// moment. They are zero while the flow has no user.
type Facts struct {
	User               user.User
	AddressUnconfirmed bool               // the address must be confirmed before the first sign-in
	Credentials        credential.Summary // which there are, and their versions
	Verdict            Verdict            // of the policies; zero until a first factor is proved
	Allowed            []string           // scopes the user has allowed this application before
	StaleProof         bool               // the first factor was proved too long ago to set up another
}

// readFacts reads what is true of f's user now. on is the browser's session, or nil.
//
// It drops from f a user who may no longer sign in, and proofs made with a credential that was
// replaced. It also drops a session older than the policies allow for this application.
func (e *Engine) readFacts(ctx context.Context, tx *db.Tx, f *Flow, on *session.Session) (Facts, error) {
	if f.User.IsZero() {
		return Facts{}, nil
	}
	u, err := user.Get(ctx, tx, f.User)
	if err != nil && fault.Of(err) != fault.NotFound {
		return Facts{}, err
	}
	if err != nil || !u.Status.MaySignIn() {
		f.forget()
		return Facts{}, nil
	}
	// A registered user is invited until the address is confirmed.
	facts := Facts{User: u, AddressUnconfirmed: u.Status == user.Invited}
	if f.Kind == SignOut {
		return facts, nil
	}
	if facts.Credentials, err = credential.Of(ctx, tx, u.ID); err != nil {
		return Facts{}, err
	}
	of, err := e.Tenants.ByID(ctx, tx.Tenant())
	if err != nil {
		return Facts{}, err
	}
	f.bindProofs(u, facts.Credentials, of.SignedOutAt)
	if !f.provedFirst() {
		return facts, nil
	}
	if facts.Verdict, err = e.ask(ctx, tx, asked{u.ID, f.Application, f.amr(), tx.Caller().Address, true}); err != nil {
		return Facts{}, err
	}
	if on != nil && !f.Session.IsZero() && on.ID == f.Session && facts.Verdict.outlived(on, tx.Now()) {
		f.Proofs, f.Session, facts.Verdict = nil, id.ID{}, Verdict{}
		return facts, nil
	}
	facts.StaleProof = tx.Now().Sub(f.authTime()) > recent
	if f.Kind == Authorize && len(f.ConsentScopes) > 0 {
		facts.Allowed, err = grant.Consented(ctx, tx, u.ID, f.Application)
	}
	return facts, err
}
