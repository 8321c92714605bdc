package credential

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// LinkKind says what a mailed link is for.
type LinkKind string

// The kinds of link.
const (
	Reset  LinkKind = "reset"  // choose a new password
	Verify LinkKind = "verify" // verify the address
	Setup  LinkKind = "setup"  // create the first owner; printed at first start, belongs to no user
)

// ResetLife is how long a link for a new password is valid.
const ResetLife = 30 * time.Minute

// linkLife is the lifetime of each kind of link.
var linkLife = map[LinkKind]time.Duration{
	Reset:  ResetLife,
	Verify: 24 * time.Hour,
	Setup:  24 * time.Hour,
}

// Link is a mailed link that is still valid.
type Link struct {
	ID        id.ID
	Kind      LinkKind
	User      id.ID  // zero for Setup
	EmailKey  string // the normalised address it was mailed to
	ExpiresAt time.Time
}

// ErrNoLink says that a link is unknown, used or expired, or was mailed to a former address of the
// user. It does not say which.
var ErrNoLink = errors.New("credential: the link is no longer good")

// NewLink stores a link for u that works once, and returns its token. Put the token into the URL of
// the mail and nowhere else. A Setup link belongs to no user (the zero User) and ends earlier ones.
func NewLink(ctx context.Context, tx *db.Tx, kind LinkKind, u user.User) (secret.String, error) {
	tokenKind := secret.MailedLink
	if kind == Setup {
		tokenKind = secret.SetupLink
		if _, err := tx.Exec(ctx, `DELETE FROM mailed_links WHERE tenant_id = $1 AND kind = 'setup'`); err != nil {
			return "", err
		}
	}
	token, hash := secret.NewToken(tokenKind, tx.Tenant())
	email, _ := user.EmailKey(u.Email)
	_, err := tx.Exec(ctx,
		`INSERT INTO mailed_links (tenant_id, id, kind, user_id, email_key, token_hash, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		id.New(), kind, u.ID, email, hash, tx.Now(), tx.Now().Add(linkLife[kind]))
	if db.IsForeignKey(err) {
		return "", errUserNotFound
	}
	if err != nil {
		return "", err
	}
	audit.Write(tx, audit.Event{Action: "link.create", Target: linkTarget(u), Detail: map[string]any{"kind": kind}})
	return token, nil
}

func linkTarget(u user.User) audit.Target {
	if u.ID.IsZero() {
		return audit.Target{}
	}
	return u.Target()
}

// goodLink selects a link that is unused and unexpired. Its user must still be able to act on it,
// and still have the address it was mailed to.
var goodLink = ` FROM mailed_links WHERE tenant_id = $1 AND token_hash = $2 AND used_at IS NULL AND expires_at > $3` +
	stillTheirs

var stillTheirs = ` AND (user_id IS NULL OR EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = $1
	AND u.id = mailed_links.user_id
	AND u.email_key = mailed_links.email_key AND ` + user.MaySignInSQL + `))`

const linkColumns = `id, kind, user_id, email_key, expires_at`

func scanLink(r db.Row) (Link, error) {
	var l Link
	err := r.Scan(&l.ID, &l.Kind, &l.User, &l.EmailKey, &l.ExpiresAt)
	return l, err
}

func linkHash(tx *db.Tx, token string) ([]byte, bool) {
	t, err := secret.ParseToken(token)
	if err != nil || t.Tenant != tx.Tenant() || t.Kind != secret.MailedLink && t.Kind != secret.SetupLink {
		return nil, false
	}
	return t.Hash, true
}

// FindLink returns the link of a token without using it, or ErrNoLink. Opening a page must not use
// a link: mail scanners open pages too.
func FindLink(ctx context.Context, tx *db.Tx, token string) (Link, error) {
	hash, ok := linkHash(tx, token)
	if !ok {
		return Link{}, ErrNoLink
	}
	return goodOrNone(db.One(ctx, tx, scanLink, `SELECT `+linkColumns+goodLink, hash, tx.Now()))
}

// UseLink uses a link. Of several concurrent uses of one token exactly one gets the link; the
// others get ErrNoLink. A refusal writes nothing, so it may end the transaction.
func UseLink(ctx context.Context, tx *db.Tx, kind LinkKind, token string) (Link, error) {
	hash, ok := linkHash(tx, token)
	if !ok {
		return Link{}, ErrNoLink
	}
	l, err := goodOrNone(db.One(ctx, tx, scanLink, `UPDATE mailed_links SET used_at = $3
		WHERE tenant_id = $1 AND token_hash = $2 AND used_at IS NULL AND expires_at > $3 AND kind = $4`+stillTheirs+
		` RETURNING `+linkColumns,
		hash, tx.Now(), kind))
	if err != nil {
		return Link{}, err
	}
	audit.Write(tx, audit.Event{Action: "link.use",
		Target: audit.Target{Kind: "user", ID: l.User.String(), Name: l.EmailKey},
		Detail: map[string]any{"kind": l.Kind}})
	return l, nil
}

func goodOrNone(l Link, err error) (Link, error) {
	if errors.Is(err, db.ErrNoRows) {
		return Link{}, ErrNoLink
	}
	return l, err
}

// Purge removes at most 500 expired links of the tenant and reports whether more may be left. A
// used link stays until it expires, because its row says when it was used.
func Purge(ctx context.Context, tx *db.Tx) (bool, error) {
	const batch = 500
	n, err := tx.Exec(ctx, `DELETE FROM mailed_links WHERE tenant_id = $1 AND id IN
		(SELECT id FROM mailed_links WHERE tenant_id = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`, tx.Now(),
		batch)
	return n == batch, err
}
