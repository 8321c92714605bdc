package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

type resetOwnerCommand struct {
	config.Flags `embed:""`
	Email        string `required:"" help:"The owner's email address; a user with it is made if there is none."`
	Tenant       string `default:"platform" placeholder:"SLUG" help:"Whose owner. Default platform."`
	Password     string `name:"password-file" placeholder:"FILE" type:"existingfile" help:"File with the new password. Default: one is made and printed."`
}

// Run gives the user a new password and the role owner, makes the account active
// again, removes its authenticator app and signs it out everywhere. Rules of the tenant
// that block sign-ins or ask for a second factor are taken away. This is the one way
// around the policies; it needs the server's own configuration, and is audited.
func (c *resetOwnerCommand) Run(e *env) error {
	a, err := e.open(c.Flags)
	if err != nil {
		return err
	}
	defer a.Close()
	by, err := a.operator(e.ctx, c.Tenant)
	if err != nil {
		return err
	}
	password, made, err := passwordFrom(c.Password)
	if err != nil {
		return err
	}
	if err := a.resetOwner(e.ctx, by, c.Email, password); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s is an active owner of %s, signed out everywhere, without an authenticator app.\n", c.Email, c.Tenant)
	if made {
		fmt.Fprintf(e.out, "Password: %s\nChange it after signing in at %s\n", password.Reveal(), a.url(c.Tenant, "/account"))
	}
	return nil
}

func (a *App) resetOwner(ctx context.Context, by caller.Caller, email string, password secret.String) error {
	phc, err := a.newPassword(ctx, email, password)
	if err != nil {
		return err
	}
	return a.DB.Update(ctx, by, func(tx *db.Tx) error {
		u, err := user.ByLogin(ctx, tx, email)
		if errors.Is(err, user.ErrNotFound) {
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
		if err := credential.SetPassword(ctx, tx, u.ID, phc); err != nil {
			return err
		}
		if _, err := a.TOTP.Remove(ctx, tx, u.ID); err != nil {
			return err
		}
		if _, err := session.RevokeAll(ctx, tx, u.ID, id.ID{}, "command line"); err != nil {
			return err
		}
		grant.RevokeOfUser(tx, u.ID, "command line")
		if err := openSignIn(ctx, tx); err != nil {
			return err
		}
		audit.Write(tx, audit.Event{Action: "owner.reset", Target: u.Target()})
		return role.Give(ctx, tx, role.Everything(), role.OfUser(u.ID), role.Owner, time.Time{})
	})
}

// openSignIn takes away the tenant's own rules by which nobody might get in any more:
// whom they block, and that a second factor cannot be set up from everywhere.
func openSignIn(ctx context.Context, tx *db.Tx) error {
	t, err := tenant.Get(ctx, tx)
	if err != nil {
		return err
	}
	if len(t.Settings.SignIn.Block)+len(t.Settings.SignIn.SecondFactor) == 0 {
		return nil
	}
	_, err = tenant.Update(ctx, tx, tenant.Patch{Settings: func(s *tenant.Settings) { s.SignIn.Block, s.SignIn.SecondFactor = nil, nil }})
	return err
}

type makeClientCommand struct {
	config.Flags `embed:""`
	Name         string `default:"Operator" help:"What people see of it."`
	Role         string `default:"owner" help:"What it may do. Default owner."`
	Tenant       string `default:"platform" placeholder:"SLUG" help:"Whose application. Default platform."`
}

// Run makes the application and prints its id and secret, once.
func (c *makeClientCommand) Run(e *env) error {
	a, err := e.open(c.Flags)
	if err != nil {
		return err
	}
	defer a.Close()
	by, err := a.operator(e.ctx, c.Tenant)
	if err != nil {
		return err
	}
	made, err := db.Write(e.ctx, a.DB, by, func(tx *db.Tx) (madeClient, error) {
		return makeClient(e.ctx, tx, application.New{Name: c.Name}, c.Role)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "client_id:     %s\nclient_secret: %s\nThe secret is shown only now. Get a token at %s with the client credentials grant.\n", made.ClientID, made.secret.Reveal(), a.url(c.Tenant, "/oauth2/token"))
	return nil
}

// newPassword checks a password against the strictest common rules and hashes it.
func (a *App) newPassword(ctx context.Context, email string, password secret.String) (string, error) {
	if err := credential.CheckPassword(password, credential.Rules{Not: []string{email}}); err != nil {
		return "", err
	}
	return a.Hasher.Hash(ctx, password)
}

// passwordFrom reads a password from a file's first line, or makes one.
func passwordFrom(file string) (password secret.String, made bool, err error) {
	if file == "" {
		return secret.String(strings.ToLower(rand.Text())), true, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", false, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return secret.String(strings.TrimRight(line, "\r")), false, nil
}
