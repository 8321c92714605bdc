package credential

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// ErrUserNotFound says that the user of a credential is gone.
var ErrUserNotFound = fault.New(fault.NotFound, "user.not_found", "There is no user with this id.")

func target(user id.ID) audit.Target { return audit.Target{Kind: "user", ID: user.String()} }

// PasswordOf returns the PHC string of the user's password, or "" when there is
// none: Hasher.Verify takes both.
func PasswordOf(ctx context.Context, tx *db.Tx, user id.ID) (string, error) {
	h, err := db.One(ctx, tx, func(r db.Row) (h string, err error) {
		err = r.Scan(&h)
		return h, err
	}, `SELECT hash FROM passwords WHERE tenant_id = $1 AND user_id = $2`, user)
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	}
	return h, err
}

// SetPassword stores a hash made by Hasher.Hash or checked by ParseHash as the
// user's password. Reset links that are still open end with it. Ending the user's
// sessions is the caller's decision.
func SetPassword(ctx context.Context, tx *db.Tx, user id.ID, phc string) error {
	if err := storePassword(ctx, tx, user, phc); err != nil {
		return err
	}
	tx.Later(`DELETE FROM mailed_links WHERE tenant_id = $1 AND user_id = $2 AND kind = 'reset'`, user)
	audit.Write(tx, audit.Event{Action: "password.change", Target: target(user)})
	return nil
}

func storePassword(ctx context.Context, tx *db.Tx, user id.ID, phc string) error {
	_, err := tx.Exec(ctx, `INSERT INTO passwords (tenant_id, user_id, hash, changed_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, user_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at`, user,
		phc, tx.Now())
	if db.IsForeignKey(err) {
		return ErrUserNotFound
	}
	return err
}

// Rehash replaces the hash of the password that was just verified by one with the
// current parameters, unless the password has been changed meanwhile. It costs no
// round trip and is no change of the password.
func Rehash(tx *db.Tx, user id.ID, from, to string) {
	tx.Later(`UPDATE passwords SET hash = $4 WHERE tenant_id = $1 AND user_id = $2 AND hash = $3`, user, from, to)
}

// Summary says which credentials a user has.
type Summary struct {
	Password          bool
	PasswordChangedAt time.Time // zero without a password
	TOTP              bool      // a confirmed authenticator app
	TOTPSince         time.Time
	RecoveryCodes     int // unused
}

// Of returns what the user has. One query.
func Of(ctx context.Context, tx *db.Tx, user id.ID) (Summary, error) {
	return db.One(ctx, tx, func(r db.Row) (s Summary, err error) {
		err = r.Scan(&s.PasswordChangedAt, &s.TOTPSince, &s.RecoveryCodes)
		s.Password, s.TOTP = !s.PasswordChangedAt.IsZero(), !s.TOTPSince.IsZero()
		return s, err
	}, `SELECT (SELECT changed_at FROM passwords WHERE tenant_id = $1 AND user_id = $2),
		(SELECT confirmed_at FROM totp_factors WHERE tenant_id = $1 AND user_id = $2),
		(SELECT count(*) FROM recovery_codes WHERE tenant_id = $1 AND user_id = $2 AND used_at IS NULL)`, user)
}
