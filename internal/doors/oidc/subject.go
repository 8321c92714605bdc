package oidc

import (
	"context"
	"errors"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/subject"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// subjectKey returns the key of the subs that a client is told, or those of app without a client. A
// hint may come from another application than the one that sends it. One that was deleted has the
// subs of a public one.
func (d *Door) subjectKey(ctx context.Context, c caller.Caller, app *application.Application, client string) (
	subject.Key, error) {
	if client != "" && client != app.ClientID {
		told, err := d.Applications.ByClientID(ctx, c, client)
		switch {
		case fault.Of(err) == fault.NotFound:
			return subject.Key{}, nil
		case err != nil:
			return subject.Key{}, err
		}
		app = told
	}
	return d.Subjects.For(ctx, c, app)
}

// unknownUser is the subject of a demand that no session meets.
const unknownUser = "unknown"

// begin is signin.BeginWith for a demand whose subject is a sub. iam/signin knows users by their
// ids, so the sub of the browser's user is replaced. Any other text is that of no session here, not
// even the user's id: otherwise a pairwise application could find out who a user is elsewhere. The
// person signs in, and authorizeContinue compares.
func (d *Door) begin(ctx context.Context, tx *db.Tx, tokens []string, demand signin.Demand, key subject.Key) (
	signin.Standing, error) {
	if demand.Subject != "" && key.IsPairwise() {
		on, err := session.Find(ctx, tx, tokens...)
		switch {
		case err == nil && key.Of(on.User) == demand.Subject:
			demand.Subject = on.User.String()
		case err == nil || errors.Is(err, session.ErrNone):
			demand.Subject = unknownUser
		default:
			return signin.Standing{}, err
		}
	}
	return d.SignIn.BeginWith(ctx, tx, tokens, demand)
}
