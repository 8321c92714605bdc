package invitation

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Path is the page of an invitation's link, below a tenant's base.
const Path = "/invitation"

// Site is the tenant that invites, and the base of its links.
type Site struct {
	Tenant *tenant.Tenant
	Base   string
}

func (s Site) link(token secret.String) string { return s.Base + Path + "?token=" + token.Reveal() }

// Mail sends an invitation once tx is committed. doors/pages writes the letter.
type Mail func(tx *db.Tx, from Site, to Invitation, link string) error

// desk makes the invitations of one caller in one transaction.
type desk struct {
	by     api.Rights
	site   Site
	mail   Mail           // nil: the caller passes the links on
	chosen map[any]chosen // earlier answers: a bulk gives the same roles to many
}

type chosen struct {
	role role.Role
	err  error
}

func newDesk(by api.Rights, at Site, mail Mail) *desk {
	return &desk{by: by, site: at, mail: mail, chosen: map[any]chosen{}}
}

// Invite stores an invitation and returns it with its link. It replaces the open invitation of the
// address. by are the caller's rights. A nil mail sends none: pass the link on then. Invite fails
// with an Invalid fault that names the wrong field, with ErrUserExists, with a Limited fault, and
// as role.Choose and group.Choose do. A fault leaves nothing behind.
func Invite(ctx context.Context, tx *db.Tx, by api.Rights, at Site, mail Mail, n New) (Invitation, string, error) {
	return newDesk(by, at, mail).invite(ctx, tx, n)
}

func (d *desk) invite(ctx context.Context, tx *db.Tx, n New) (Invitation, string, error) {
	i, err := d.check(ctx, tx, n)
	if err != nil {
		return Invitation{}, "", err
	}
	open, err := count(ctx, tx)
	if err != nil {
		return Invitation{}, "", err
	}
	if open >= maxOpen {
		return Invitation{}, "", errTooMany
	}
	before, err := holdOpen(ctx, tx, i.emailKey)
	replaces := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Invitation{}, "", err
	}
	if replaces {
		if err := d.mayChange(ctx, tx, before); err != nil {
			return Invitation{}, "", err
		}
	}
	if err := d.takeMail(ctx, tx, i); err != nil {
		return Invitation{}, "", err
	}
	if replaces {
		if err := withdraw(ctx, tx, before, "replaced"); err != nil {
			return Invitation{}, "", err
		}
	}
	var token secret.String
	token, i.hash = secret.NewToken(secret.Invitation, tx.Tenant())
	inserted, err := insert(ctx, tx, i)
	if err != nil {
		return Invitation{}, "", err
	}
	if !inserted {
		return Invitation{}, "", errConcurrent
	}
	audit.Write(tx, audit.Event{Action: "invitation.create", Target: i.target(),
		Detail: map[string]any{"mailed": d.mail != nil}, Changed: audit.Changed(nil, i.fields())})
	return i, d.site.link(token), d.send(tx, i, token)
}

// check returns the invitation that n describes.
func (d *desk) check(ctx context.Context, tx *db.Tx, n New) (Invitation, error) {
	p := user.Profile{Email: n.Email, GivenName: n.GivenName, FamilyName: n.FamilyName, Locale: n.Locale}
	var wrong fault.Fields
	key, ok := user.EmailKey(n.Email)
	if !ok {
		wrong.Add("email", "Enter an email address such as name@example.com.")
	} else if err := p.Normalise(); err != nil {
		if fault.Of(err) != fault.Invalid {
			return Invitation{}, err
		}
		wrong = append(wrong, fault.As(err).Fields...)
	}
	if len(n.Roles) > maxGiven {
		wrong.Add("roles", "There are too many: at most %d.", maxGiven)
	}
	if len(n.Groups) > maxGiven {
		wrong.Add("groups", "There are too many: at most %d.", maxGiven)
	}
	lifetime, err := lifetimeOf(n.Lifetime)
	if err != nil {
		wrong = append(wrong, fault.As(err).Fields...)
	}
	if err := wrong.Err("invitation.invalid"); err != nil {
		return Invitation{}, err
	}
	i := Invitation{ID: id.New(), Email: p.Email, GivenName: p.GivenName, FamilyName: p.FamilyName, Locale: p.Locale,
		Groups: []id.ID{}, By: tx.Caller().Actor, Lifetime: lifetime, CreatedAt: tx.Now(),
		ExpiresAt: tx.Now().Add(lifetime), emailKey: key}
	i.By.Via, i.By.Session = id.ID{}, id.ID{}
	if i.By.Tenant.IsZero() {
		i.By.Tenant = tx.Tenant()
	}
	for _, name := range n.Roles {
		r, err := d.role(ctx, tx, name)
		if err != nil {
			return Invitation{}, err
		}
		i.Roles = append(i.Roles, r)
	}
	for _, g := range n.Groups {
		if err := d.group(ctx, tx, g); err != nil {
			return Invitation{}, err
		}
		i.Groups = append(i.Groups, g)
	}
	_, err = user.ByLogin(ctx, tx, p.Email)
	if err == nil {
		return Invitation{}, ErrUserExists
	}
	if fault.Of(err) != fault.NotFound {
		return Invitation{}, err
	}
	return i, nil
}

// role returns a role that the caller may give.
func (d *desk) role(ctx context.Context, tx *db.Tx, name string) (role.Role, error) {
	known, ok := d.chosen[name]
	if !ok {
		known.role, known.err = role.Choose(ctx, tx, role.Of(d.by), name)
		d.chosen[name] = known
	}
	return known.role, known.err
}

// group fails unless the caller may add users to the group.
func (d *desk) group(ctx context.Context, tx *db.Tx, g id.ID) error {
	known, ok := d.chosen[g]
	if !ok {
		if known.err = (api.Request{Rights: d.by}).Require("group.member"); known.err == nil {
			_, known.err = group.Choose(ctx, tx, role.ForGroups(), d.by, g)
		}
		if errors.Is(known.err, group.ErrNotFound) {
			known.err = fault.InvalidField("invitation.invalid", "groups", "There is no group with the id %s.", g)
		}
		d.chosen[g] = known
	}
	return known.err
}

// mayChange fails unless the caller could make the invitation. Roles and groups that are gone do
// not count.
func (d *desk) mayChange(ctx context.Context, tx *db.Tx, i Invitation) error {
	for _, r := range i.Roles {
		if _, err := d.role(ctx, tx, r.Name); err != nil && fault.Of(err) != fault.Invalid {
			return err
		}
	}
	for _, g := range i.Groups {
		if err := d.group(ctx, tx, g); err != nil && fault.Of(err) != fault.Invalid {
			return err
		}
	}
	return nil
}

// takeMail counts a mail to the invitation's address, unless none is sent.
func (d *desk) takeMail(ctx context.Context, tx *db.Tx, i Invitation) error {
	if d.mail == nil {
		return nil
	}
	verdict, err := attempt.Take(ctx, tx, attempt.Mail(attempt.ToInvite, i.emailKey))
	if err == nil && verdict.Blocked {
		err = errTooManyMails
	}
	return err
}

func (d *desk) send(tx *db.Tx, i Invitation, token secret.String) error {
	if d.mail == nil {
		return nil
	}
	return d.mail(tx, d.site, i, d.site.link(token))
}

// resend gives an open invitation a new link, and ends the one before. lifetime is zero for that of
// the link before. It fails with ErrNotFound, ErrEnded and ErrUserExists, and as Invite does.
func (d *desk) resend(ctx context.Context, tx *db.Tx, invitation id.ID, lifetime time.Duration) (Invitation, string,
	error) {
	i, err := hold(ctx, tx, invitation)
	if err != nil {
		return Invitation{}, "", err
	}
	if s := i.StatusAt(tx.Now()); s != Pending && s != Expired {
		return Invitation{}, "", ErrEnded
	}
	if err := d.mayChange(ctx, tx, i); err != nil {
		return Invitation{}, "", err
	}
	if _, err := user.ByLogin(ctx, tx, i.Email); err == nil {
		return Invitation{}, "", ErrUserExists
	} else if fault.Of(err) != fault.NotFound {
		return Invitation{}, "", err
	}
	if i.Lifetime, err = lifetimeOf(cmp.Or(lifetime, i.Lifetime)); err != nil {
		return Invitation{}, "", err
	}
	if err := d.takeMail(ctx, tx, i); err != nil {
		return Invitation{}, "", err
	}
	before := i
	i.ExpiresAt = tx.Now().Add(i.Lifetime)
	var token secret.String
	token, i.hash = secret.NewToken(secret.Invitation, tx.Tenant())
	tx.Later(`UPDATE invitations SET token_hash = $3, lifetime = $4, expires_at = $5, kept_until = $6
		WHERE tenant_id = $1 AND id = $2`,
		i.ID, i.hash, int64(i.Lifetime/time.Second), i.ExpiresAt, i.ExpiresAt.Add(kept))
	audit.Write(tx, audit.Event{Action: "invitation.resend", Target: i.target(),
		Detail: map[string]any{"mailed": d.mail != nil}, Changed: audit.Changed(before.fields(), i.fields()).With(
			"link", audit.Digest(before.hash), audit.Digest(i.hash))})
	return i, d.site.link(token), d.send(tx, i, token)
}

// end withdraws an invitation. It does nothing if that was done before. It fails with ErrNotFound,
// with ErrEnded for one that was accepted, and if the caller could not make it.
func (d *desk) end(ctx context.Context, tx *db.Tx, invitation id.ID) error {
	i, err := hold(ctx, tx, invitation)
	if err != nil {
		return err
	}
	switch i.StatusAt(tx.Now()) {
	case Accepted:
		return ErrEnded
	case Withdrawn:
		return nil
	case Pending, Expired:
	}
	if err := d.mayChange(ctx, tx, i); err != nil {
		return err
	}
	return withdraw(ctx, tx, i, "")
}

// withdraw ends an open invitation. reason is "" for a caller's wish.
func withdraw(ctx context.Context, tx *db.Tx, i Invitation, reason string) error {
	_, err := tx.Exec(ctx, `UPDATE invitations SET withdrawn_at = $3, kept_until = $4
		WHERE tenant_id = $1 AND id = $2`+isOpen, i.ID, tx.Now(), tx.Now().Add(kept))
	if err != nil {
		return err
	}
	e := audit.Event{Action: "invitation.withdraw", Target: i.target(),
		Changed: audit.Changes{}.With("status", i.StatusAt(tx.Now()), Withdrawn)}
	if reason != "" {
		e.Detail = map[string]any{"reason": reason}
	}
	audit.Write(tx, e)
	return nil
}
