package credential

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
)

// Recovery codes are fifteen characters of Crockford's base32 in three groups: 75 random bits. They
// cannot be guessed, so a fast hash protects them.
const (
	recoveryCodes  = 10 // in a set
	recoveryLength = 15
	recoveryGroup  = 5
	crockford      = "0123456789abcdefghjkmnpqrstvwxyz"
)

// NewRecoveryCodes replaces the user's recovery codes and returns the new set, which cannot be
// shown again.
func NewRecoveryCodes(ctx context.Context, tx *db.Tx, of id.ID) ([]secret.String, error) {
	if _, err := tx.Exec(ctx, `DELETE FROM recovery_codes WHERE tenant_id = $1 AND user_id = $2`, of); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(`INSERT INTO recovery_codes (tenant_id, user_id, created_at, code_hash) VALUES `)
	codes := make([]secret.String, 0, recoveryCodes)
	args := []any{of, tx.Now()}
	for i := range recoveryCodes {
		code := newRecoveryCode()
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "($1, $2, $3, $%d)", i+4)
		args = append(args, recoveryHash(tx.Tenant(), of, code))
		codes = append(codes, secret.String(code))
	}
	if _, err := tx.Exec(ctx, b.String(), args...); err != nil {
		if db.IsForeignKey(err) {
			return nil, errUserNotFound
		}
		return nil, err
	}
	audit.Write(tx, audit.Event{Action: "recovery.renew", Target: user.TargetOf(of),
		Changed: audit.Changes{}.With("recovery_codes", nil, recoveryCodes)})
	return codes, nil
}

func newRecoveryCode() string {
	raw := make([]byte, recoveryLength)
	_, _ = rand.Read(raw) // never fails
	var b strings.Builder
	for i, r := range raw {
		if i > 0 && i%recoveryGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(crockford[r&31]) // 256 is a multiple of 32: no bias
	}
	return b.String()
}

// recoveryHash binds a code to its user. code must be in clean form.
func recoveryHash(tenant, user id.ID, code string) []byte {
	h := sha256.New()
	h.Write([]byte("gatehouse recovery code v1\x00"))
	h.Write(tenant[:])
	h.Write(user[:])
	h.Write([]byte(strings.ReplaceAll(code, "-", "")))
	return h.Sum(nil)
}

// cleanRecovery undoes what users change when they type a code: case, separators, width, and
// letters that look like digits.
func cleanRecovery(code string) (string, bool) {
	if len(code) > maxTyped {
		return "", false
	}
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(typed.Code(code))) {
		switch c {
		case 'o':
			c = '0'
		case 'i', 'l':
			c = '1'
		}
		if strings.IndexByte(crockford, c) < 0 {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), b.Len() == recoveryLength
}

// UseRecovery uses a recovery code and returns how many unused ones remain. Of several concurrent
// uses of one code exactly one is Accepted. The caller counts failures.
func UseRecovery(ctx context.Context, tx *db.Tx, of id.ID, code string) (Outcome, int, error) {
	clean, ok := cleanRecovery(code)
	if !ok {
		return Wrong, 0, nil
	}
	hash := recoveryHash(tx.Tenant(), of, clean)
	n, err := tx.Exec(ctx, `UPDATE recovery_codes SET used_at = $4 WHERE tenant_id = $1 AND user_id = $2
		AND code_hash = $3 AND used_at IS NULL`,
		of, hash, tx.Now())
	if err != nil {
		return Wrong, 0, err
	}
	type counts struct{ left, same int }
	c, err := db.One(ctx, tx, func(r db.Row) (counts, error) {
		var c counts
		err := r.Scan(&c.left, &c.same)
		return c, err
	}, `SELECT COUNT(CASE WHEN used_at IS NULL THEN 1 END), COUNT(CASE WHEN code_hash = $3 THEN 1 END)
		FROM recovery_codes WHERE tenant_id = $1 AND user_id = $2`, of, hash)
	switch {
	case err != nil:
		return Wrong, 0, err
	case n == 1:
		audit.Write(tx, audit.Event{Action: "recovery.use", Target: user.TargetOf(of),
			Detail: map[string]any{"left": c.left}})
		return Accepted, c.left, nil
	case c.same > 0:
		return Replayed, c.left, nil
	}
	return Wrong, c.left, nil
}
