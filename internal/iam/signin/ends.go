package signin

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Ending is a change of a user after which nothing counts that was made before it: no session,
// grant, proof in a flow, or known browser. docs/guides/what-ends-when.md lists every change, also
// those that end nothing.
type Ending struct {
	reason   string // in the audit log
	forgives bool   // failed tries of the user no longer delay
}

// The endings. This is the one table of what ends when a user changes.
var (
	// PasswordChanged is a new password that its owner chose. PasswordReset is one by a mailed
	// link.
	PasswordChanged = Ending{reason: "password.change"}
	PasswordReset   = Ending{reason: "password.reset"}
	// FactorRemoved is a second factor that its owner removed.
	FactorRemoved = Ending{reason: "totp.remove"}
	// CredentialReset is a credential that an administrator set or removed, and OwnerReset one that
	// the command line did.
	CredentialReset = Ending{reason: "credential reset", forgives: true}
	OwnerReset      = Ending{reason: "command line", forgives: true}
	// Locked is a user whom an administrator locked, and Deactivated one who has left.
	Locked      = Ending{reason: "user.lock"}
	Deactivated = Ending{reason: "user.deactivate"}
)

// End ends what was made before the change of a user. The session keep goes on if its caller renews
// it in the same transaction; it is zero if none does. It fails with user.ErrNotFound.
func End(ctx context.Context, tx *db.Tx, c Ending, of, keep id.ID) error {
	// The generation decides. A session or grant that is committed at the same moment belongs to
	// the generation before. The rest is for lists and the audit log.
	if err := user.NextGeneration(ctx, tx, of); err != nil {
		return err
	}
	if err := logout.EndAll(ctx, tx, of, keep, c.reason); err != nil {
		return err
	}
	grant.RevokeOfUser(tx, of, c.reason)
	if c.forgives {
		attempt.Clear(tx, attempt.Account(of, ""), attempt.Factor(of))
	}
	return nil
}

// EndOfStatus ends what a user's new status ends.
func EndOfStatus(ctx context.Context, tx *db.Tx, of id.ID, status user.Status) error {
	switch status {
	case user.Locked:
		return End(ctx, tx, Locked, of, id.ID{})
	case user.Deactivated:
		return End(ctx, tx, Deactivated, of, id.ID{})
	case user.Active, user.Invited:
	}
	return nil
}

// EndOfDeleted ends the sessions of a user who is about to be deleted, so that their applications
// are told. The rest goes with the user.
func EndOfDeleted(ctx context.Context, tx *db.Tx, of id.ID) error {
	return logout.EndAll(ctx, tx, of, id.ID{}, "user.delete")
}

// EndOfApplication ends what a disabled application holds.
func EndOfApplication(ctx context.Context, tx *db.Tx, of id.ID) error {
	return grant.RevokeOfApplication(ctx, tx, of, "application.disable")
}

// EndOfOffline ends with their sessions the grants of an application that lost offline_access.
func EndOfOffline(ctx context.Context, tx *db.Tx, of id.ID) error {
	return application.NextGeneration(ctx, tx, of, application.Offline)
}
