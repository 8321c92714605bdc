package signin

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// PasswordTry is one try of a password: found in one transaction, verified outside any, and used
// in another. Every way through has the same statements and one hash, so that its time does not
// tell whether the account exists.
type PasswordTry struct {
	User user.User // zero for an unknown login

	login  string
	count  attempt.SignIn
	stored string // PHC; "" for none
	even   bool   // a refusal must take as long as that of an imported hash
	ok     bool
	locked bool   // see Locked
	rehash string // PHC with the current parameters, when stored has others
}

// FindPassword looks up the account of a login typed in a browser. numbers are the tenant's. wait
// is how long the browser has to wait after too many tries; there is no try then.
func FindPassword(ctx context.Context, tx *db.Tx, login, browser string, numbers attempt.Numbers) (PasswordTry,
	time.Duration, error) {
	t := PasswordTry{login: login}
	var err error
	if t.User, err = user.ByLogin(ctx, tx, login); err != nil && fault.Of(err) != fault.NotFound {
		return PasswordTry{}, 0, err
	}
	if t.stored, t.even, err = credential.Stored(ctx, tx, t.User.ID); err != nil {
		return PasswordTry{}, 0, err
	}
	t.count = attempt.ForSignIn(t.User.ID, t.User.Generation, user.LoginKey(login), browser,
		attempt.Address(tx.Caller().Address, numbers))
	verdict, err := t.count.Check(ctx, tx)
	return t, verdict.Wait(tx.Now()), err
}

// Verify hashes password and compares it. It is slow and runs outside any transaction. It fails
// with credential.ErrBusy.
func (t *PasswordTry) Verify(ctx context.Context, h *credential.Hasher, password secret.String) error {
	var old bool
	var err error
	wait, cancel := h.Even(ctx)
	defer cancel()
	if t.ok, old, err = h.Verify(ctx, t.stored, password); err != nil || !old {
		if err == nil && !t.ok && t.even {
			wait()
		}
		return err
	}
	t.rehash, err = h.Hash(ctx, password)
	return err
}

// OK reports whether the password was right when it was verified.
func (t *PasswordTry) OK() bool { return t.ok }

// Locked reports whether Use refused a right password because an administrator locked or closed the
// account. Only a person who knows the password is told.
func (t *PasswordTry) Locked() bool { return t.locked }

// Use ends the try in the transaction that acts on it. It counts the try and reports whether the
// password is right and still the account's. It writes a refusal to the audit log.
func (t *PasswordTry) Use(ctx context.Context, tx *db.Tx) (bool, error) {
	ok := t.ok
	if ok {
		// Meanwhile the password may have been changed or the account closed.
		stored, err := credential.PasswordOf(ctx, tx, t.User.ID)
		if err != nil {
			return false, err
		}
		ok = stored == t.stored
	}
	if ok {
		verdict, err := t.count.Succeed(ctx, tx)
		if err != nil {
			return false, err
		}
		ok = !verdict.Blocked
	}
	if ok && !t.User.Status.MaySignIn() {
		t.locked = true
		audit.Write(tx, audit.Event{Action: "signin.refuse", Target: t.User.Target(), Outcome: audit.Refused,
			Detail: map[string]any{"method": Password.Name, "reason": string(t.User.Status)}})
		return false, nil
	}
	if ok {
		if t.rehash != "" {
			credential.Rehash(tx, t.User.ID, t.stored, t.rehash)
		}
		return true, nil
	}
	verdict, err := t.count.Fail(ctx, tx)
	if err != nil {
		return false, err
	}
	target := audit.Target{Kind: "user", Name: t.login}
	if !t.User.ID.IsZero() {
		target = t.User.Target()
	}
	writeRefusal(tx, target, map[string]any{"method": Password.Name}, verdict)
	return false, nil
}

// writeRefusal records a failed proof, and the lock that it started.
func writeRefusal(tx *db.Tx, target audit.Target, detail map[string]any, v attempt.Verdict) {
	audit.Write(tx, audit.Event{Action: "signin.refuse", Target: target, Outcome: audit.Refused, Detail: detail})
	if v.Started {
		audit.Write(tx, audit.Event{Action: "signin.lock", Target: target, Outcome: audit.Refused,
			Detail: map[string]any{"until": v.Until.Format(time.RFC3339)}})
	}
}

// TryFactor counts one try at u's second factor around use, in use's transaction. It holds the
// counters first, so that guesses at once wait for one another. kind is for the audit log, and
// numbers are the tenant's. With a wait, use did not run: there were too many tries. A code for a
// key that was replaced elsewhere does not count: it is not a guess.
func TryFactor(ctx context.Context, tx *db.Tx, u user.User, kind string, numbers attempt.Numbers,
	use func() (credential.Outcome, error)) (credential.Outcome, time.Duration, error) {
	factor := attempt.Factor(u.ID)
	verdict, err := attempt.Hold(ctx, tx, factor)
	if err != nil {
		return credential.Wrong, 0, err
	}
	if wait := verdict.Wait(tx.Now()); wait > 0 {
		return credential.Wrong, wait, nil
	}
	out, err := use()
	switch {
	case err != nil || out == credential.Replaced:
		return out, 0, err
	case out == credential.Accepted:
		attempt.Clear(tx, factor)
		return out, 0, nil
	}
	// The client's networks count the failure too, but do not refuse a person who knows the
	// password.
	keys := append(attempt.Address(tx.Caller().Address, numbers).Keys(), factor)
	if verdict, err = attempt.Fail(ctx, tx, keys...); err != nil {
		return out, 0, err
	}
	writeRefusal(tx, u.Target(), map[string]any{"method": kind, "reason": out.String()}, verdict)
	return out, 0, nil
}
