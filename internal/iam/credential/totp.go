package credential

import (
	"context"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
)

// TOTP parameters that every authenticator app assumes.
const (
	totpPeriod  = 30 // seconds
	totpSkew    = 1  // steps accepted before and after the current one (RFC 6238 §5.2)
	totpSecret  = 20 // bytes (RFC 4226 §4 R6)
	totpPurpose = "totp"
)

// Outcome says how the use of a one-time credential ended. A refusal is not an error: an error
// would roll back its counter.
type Outcome uint8

// The outcomes.
const (
	Wrong    Outcome = iota // not this user's code, or not now
	Accepted                // right, and now used
	Replayed                // right, but used before
	Missing                 // the user has no such credential
	Replaced                // the key that was shown is no longer the one being set up
)

// String returns the outcome in the words of the audit log.
func (o Outcome) String() string {
	return [...]string{"wrong", "accepted", "replayed", "missing", "replaced"}[o]
}

// ErrTOTPEnrolled is the fault for a user who already has an authenticator app.
var ErrTOTPEnrolled = fault.New(fault.Conflict, "credential.totp_enrolled",
	"An authenticator app is set up already. Remove it before setting up another.")

// TOTP verifies codes of authenticator apps. It holds the key ring that seals their secrets.
type TOTP struct{ Keys *secret.KeyRing }

// Enrolment holds what a user needs to add the account to an authenticator app.
type Enrolment struct {
	Secret secret.String // base32, in groups of four for typing
	URI    secret.String // otpauth://, for a QR code
}

// Enrol starts or resumes the set-up of an authenticator app. The app will show issuer and account.
// at is the flow or session whose pages run the set-up.
//
// The app does not count before Confirm. Another call with the same at returns the same secret, so
// that a reloaded page stays valid. A call with another at replaces the secret: an attacker who
// knows the password must not have seen the key that the user confirms. It fails with
// ErrTOTPEnrolled, or if the user does not exist.
func (t TOTP) Enrol(ctx context.Context, tx *db.Tx, user, at id.ID, issuer, account string) (Enrolment, error) {
	fresh := randomBytes(totpSecret)
	sealed, err := t.Keys.Seal(tx.Tenant(), pendingOf(user, at), fresh)
	if err != nil {
		return Enrolment{}, err
	}
	// An UPDATE that changes nothing, so that RETURNING returns the existing row.
	f, err := db.One(ctx, tx, scanFactor,
		`INSERT INTO totp_factors (tenant_id, user_id, secret, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, user_id) DO UPDATE SET last_step = totp_factors.last_step RETURNING secret, last_step, confirmed_at`,
		user, sealed, tx.Now())
	if db.IsForeignKey(err) {
		return Enrolment{}, errUserNotFound
	}
	if err != nil {
		return Enrolment{}, err
	}
	if !f.confirmedAt.IsZero() {
		return Enrolment{}, ErrTOTPEnrolled
	}
	key, err := t.Keys.Open(tx.Tenant(), pendingOf(user, at), f.sealed)
	if err != nil { // begun elsewhere
		key = fresh
		n, err := tx.Exec(ctx, `UPDATE totp_factors SET secret = $3, last_step = 0, created_at = $4
			WHERE tenant_id = $1 AND user_id = $2 AND confirmed_at IS NULL`, user, sealed, tx.Now())
		if err != nil {
			return Enrolment{}, err
		}
		if n != 1 {
			return Enrolment{}, ErrTOTPEnrolled
		}
	}
	return enrolment(key, issuer, account), nil
}

// purposeOf binds a sealed secret to its user, so that it opens in no other row.
func purposeOf(user id.ID) string { return totpPurpose + ":" + user.String() }

// pendingOf also binds an unconfirmed secret to the flow or session that showed it.
func pendingOf(user, at id.ID) string {
	return totpPurpose + "-pending:" + user.String() + ":" + at.String()
}

func enrolment(key []byte, issuer, account string) Enrolment {
	b32 := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key)
	label := strings.ReplaceAll(issuer, ":", " ") + ":" + account
	query := url.Values{"secret": {b32}, "issuer": {strings.ReplaceAll(issuer, ":", " ")}}
	// Apps read "+" literally, so spaces must be %20.
	uri := "otpauth://totp/" + url.PathEscape(label) + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
	var groups []string
	for i := 0; i < len(b32); i += 4 {
		groups = append(groups, b32[i:min(i+4, len(b32))])
	}
	return Enrolment{Secret: secret.String(strings.Join(groups, " ")), URI: secret.String(uri)}
}

type factor struct {
	sealed      []byte
	lastStep    int64
	confirmedAt time.Time
}

func scanFactor(r db.Row) (factor, error) {
	var f factor
	err := r.Scan(&f.sealed, &f.lastStep, &f.confirmedAt)
	return f, err
}

// Confirm ends the set-up with a first code from the app, and uses that code. at is the value given
// to Enrol; with another one the outcome is Replaced.
func (t TOTP) Confirm(ctx context.Context, tx *db.Tx, of, at id.ID, code string) (Outcome, error) {
	f, out, err := factorOf(ctx, tx, of, false)
	if err != nil || out != Accepted {
		return out, err
	}
	key, err := t.Keys.Open(tx.Tenant(), pendingOf(of, at), f.sealed)
	if errors.Is(err, secret.ErrOpen) {
		return Replaced, nil
	}
	if err != nil {
		return Wrong, fmt.Errorf("TOTP secret of user %s: %w", of, err)
	}
	step, ok, err := matchStep(key, code, tx.Now())
	if err != nil || !ok {
		return Wrong, err
	}
	sealed, err := t.Keys.Seal(tx.Tenant(), purposeOf(of), key)
	if err != nil {
		return Wrong, err
	}
	// This statement decides. Of several confirmations one finds the row pending, with the secret
	// that the code matches.
	n, err := tx.Exec(ctx, `UPDATE totp_factors SET secret = $5, last_step = $3, confirmed_at = $4
		WHERE tenant_id = $1 AND user_id = $2 AND confirmed_at IS NULL AND secret = $6`, of, step, tx.Now(), sealed,
		f.sealed)
	if err != nil {
		return Wrong, err
	}
	if n != 1 {
		return Replaced, nil
	}
	audit.Write(tx, audit.Event{Action: "totp.enrol", Target: user.TargetOf(of),
		Changed: audit.Changes{}.With("totp", false, true)})
	return Accepted, nil
}

// Use checks a code of a confirmed app and uses its step. Of several concurrent uses of one code
// exactly one is Accepted. The caller counts failures (iam/attempt).
func (t TOTP) Use(ctx context.Context, tx *db.Tx, user id.ID, code string) (Outcome, error) {
	f, out, err := factorOf(ctx, tx, user, true)
	if err != nil || out != Accepted {
		return out, err
	}
	key, err := t.Keys.Open(tx.Tenant(), purposeOf(user), f.sealed)
	if err != nil {
		return Wrong, fmt.Errorf("TOTP secret of user %s: %w", user, err)
	}
	step, ok, err := matchStep(key, code, tx.Now())
	if err != nil || !ok {
		return Wrong, err
	}
	// This statement decides: the last step only increases.
	n, err := tx.Exec(ctx,
		`UPDATE totp_factors SET last_step = $3 WHERE tenant_id = $1 AND user_id = $2 AND last_step < $3`, user, step)
	if err != nil {
		return Wrong, err
	}
	if n != 1 {
		return Replayed, nil
	}
	return Accepted, nil
}

// factorOf reads the user's app, confirmed or pending as requested. The outcome is Missing if there
// is none.
func factorOf(ctx context.Context, tx *db.Tx, user id.ID, confirmed bool) (factor, Outcome, error) {
	f, err := db.One(ctx, tx, scanFactor,
		`SELECT secret, last_step, confirmed_at FROM totp_factors WHERE tenant_id = $1 AND user_id = $2`, user)
	switch {
	case errors.Is(err, db.ErrNoRows) || err == nil && f.confirmedAt.IsZero() == confirmed:
		return factor{}, Missing, nil
	case err != nil:
		return factor{}, Wrong, err
	}
	return f, Accepted, nil
}

// matchStep returns the time step of code, within the accepted skew. It computes all steps,
// whichever matches.
func matchStep(key []byte, code string, now time.Time) (int64, bool, error) {
	code, ok := Digits(code)
	if !ok {
		return 0, false, nil
	}
	var step int64
	b32 := base32.StdEncoding.EncodeToString(key)
	current := now.Unix() / totpPeriod
	ok = false
	for s := current - totpSkew; s <= current+totpSkew; s++ {
		want, err := hotp.GenerateCodeCustom(b32, uint64(s),
			hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, false, fmt.Errorf("TOTP: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok, nil
}

// Digits returns the six digits of a code, however it is typed, and whether it has six.
func Digits(code string) (string, bool) {
	if len(code) > maxTyped {
		return "", false
	}
	code = typed.Code(code)
	return code, len(code) == 6 && strings.Trim(code, "0123456789") == ""
}

// maxTyped bounds a code as it is typed, in bytes. Pasted ones contain invisible characters.
const maxTyped = 256

// Remove deletes the authenticator app and the recovery codes that replace it. It reports whether
// there was an app.
func (t TOTP) Remove(ctx context.Context, tx *db.Tx, of id.ID) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM totp_factors WHERE tenant_id = $1 AND user_id = $2`, of)
	if err != nil || n == 0 {
		return false, err
	}
	tx.Later(`DELETE FROM recovery_codes WHERE tenant_id = $1 AND user_id = $2`, of)
	audit.Write(tx, audit.Event{Action: "totp.remove", Target: user.TargetOf(of),
		Changed: audit.Changes{}.With("totp", true, false)})
	return true, nil
}
