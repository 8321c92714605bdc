package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

type resetOwnerCommand struct {
	Email    string `required:"" placeholder:"EMAIL" help:"Email address of the owner."`
	Tenant   string `default:"platform" placeholder:"SLUG" help:"Tenant of the owner. Default platform."`
	Password string `name:"password-file" placeholder:"FILE" type:"existingfile" help:"File with the new password. Default: a random one, which is printed."`
	recovery `embed:""`
}

// Run gives an owner a new password, and activates the account. With --create it makes an owner of
// any user, also of a new one.
//
// It removes the user's authenticator app and ends the user's sessions. It also removes the
// tenant's rules that block sign-ins or require a second factor. This is the only way around the
// policies. It needs the server's own configuration, and writes an audit event.
func (c *resetOwnerCommand) Run(e *env) error {
	a, err := c.open(e)
	if err != nil {
		return err
	}
	defer a.Close()
	by, err := a.operator(e.ctx, c.Tenant)
	if err != nil {
		return err
	}
	password, err := c.password()
	if err != nil {
		return err
	}
	if err := a.resetOwner(e.ctx, by, c.Email, password, c.Create); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s is an active owner of %s, signed out everywhere, without an authenticator app.\n",
		c.Email, c.Tenant)
	if c.Password == "" {
		fmt.Fprintf(e.out, "Password: %s\nChange it after signing in at %s\n",
			password.Reveal(), a.url(c.Tenant, "/account"))
	}
	return nil
}

var errNoOwner = errors.New("no owner of the tenant has this email address: correct --email or --tenant, " +
	"or make an owner of this user with --create")

// resetOwner resets an owner. Without create it fails with errNoOwner if the user is missing or not
// an owner.
func (a *App) resetOwner(ctx context.Context, by caller.Caller, email string, password secret.String,
	create bool) error {
	phc, err := a.newPassword(ctx, email, password)
	if err != nil {
		return err
	}
	return a.DB.Update(ctx, by, func(tx *db.Tx) error {
		u, err := user.ByLogin(ctx, tx, email)
		if errors.Is(err, user.ErrNotFound) {
			if !create {
				return errNoOwner
			}
			u, err = user.Create(ctx, tx, user.Profile{Email: email, EmailVerified: true})
		}
		if err != nil {
			return err
		}
		if u.Status != user.Active {
			if _, err := user.SetStatus(ctx, tx, role.KeepOwner, u.ID, user.Active); err != nil {
				return err
			}
		}
		rights, err := role.ActionsOf(ctx, tx, role.OfUser(u.ID)) // of an active user
		if err != nil {
			return err
		}
		if !create && !slices.Contains(rights.Builtins(), role.Owner) {
			return errNoOwner
		}
		if err := credential.SetPassword(ctx, tx, u.ID, phc); err != nil {
			return err
		}
		if _, err := a.TOTP.Remove(ctx, tx, u.ID); err != nil {
			return err
		}
		if err := signin.End(ctx, tx, signin.OwnerReset, u.ID, id.ID{}); err != nil {
			return err
		}
		if err := openSignIn(ctx, tx); err != nil {
			return err
		}
		audit.Write(tx, audit.Event{Action: "owner.reset", Target: u.Target()})
		return role.Assign(ctx, tx, role.Everything(), role.OfUser(u.ID), role.Owner, time.Time{})
	})
}

// openSignIn removes the tenant's own rules that can lock every user out: those that block
// sign-ins, and those that limit where a second factor is set up.
func openSignIn(ctx context.Context, tx *db.Tx) error {
	t, err := tenant.Get(ctx, tx)
	if err != nil {
		return err
	}
	if len(t.Settings.SignIn.Block)+len(t.Settings.SignIn.SecondFactor) == 0 {
		return nil
	}
	open := func(s *tenant.Settings) { s.SignIn.Block, s.SignIn.SecondFactor = nil, nil }
	_, err = tenant.Update(ctx, tx, tenant.Patch{Settings: open})
	return err
}

type makeClientCommand struct {
	Name     string `default:"Operator" placeholder:"NAME" help:"Name of the application. Default Operator."`
	Role     string `default:"owner" placeholder:"ROLE" help:"Role of the application. Default owner."`
	Tenant   string `default:"platform" placeholder:"SLUG" help:"Tenant of the application. Default platform."`
	recovery `embed:""`
}

// Run creates the application and prints its id and secret.
func (c *makeClientCommand) Run(e *env) error {
	a, err := c.open(e)
	if err != nil {
		return err
	}
	defer a.Close()
	by, err := a.operator(e.ctx, c.Tenant)
	if err != nil {
		return err
	}
	made, err := db.Write(e.ctx, a.DB, by, func(tx *db.Tx) (newClient, error) {
		return createClient(e.ctx, tx, application.New{Name: c.Name}, c.Role)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "client_id:     %s\nclient_secret: %s\n", made.ClientID, made.secret.Reveal())
	fmt.Fprintf(e.out, "The secret is shown only now. Get a token at %s with the client credentials grant.\n",
		a.url(c.Tenant, "/oauth2/token"))
	return nil
}

// newPassword checks a password against the default rules and hashes it.
func (a *App) newPassword(ctx context.Context, email string, password secret.String) (string, error) {
	if err := checkPassword(email, password); err != nil {
		return "", err
	}
	return a.Hasher.Hash(ctx, password)
}

// checkPassword checks the password of an owner against the default rules.
func checkPassword(email string, password secret.String) error {
	return credential.CheckPassword(password, credential.Rules{Not: []string{email}})
}

// password reads the password's file, or returns a random password.
func (c *resetOwnerCommand) password() (secret.String, error) {
	if c.Password == "" {
		return secret.String(strings.ToLower(rand.Text())), nil
	}
	return config.ReadSecret(c.Password)
}
