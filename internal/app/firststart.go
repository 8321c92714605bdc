package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// system returns the caller of what Gatehouse itself does in a tenant.
func system(t id.ID, name string) caller.Caller {
	return caller.Caller{Tenant: t, Actor: caller.Actor{Kind: caller.System, Name: name}}
}

// operator returns the caller of a command in the tenant with this slug.
func (a *App) operator(ctx context.Context, slug string) (caller.Caller, error) {
	t, err := a.Tenants.BySlug(ctx, slug)
	if err != nil {
		return caller.Caller{}, err
	}
	return system(t.Tenant, "command line"), nil
}

// FirstStart creates the platform tenant's signing keys, and the configured first owner and first
// machine application. A development key seals nothing yet: see sealFirst.
//
// It leaves existing ones alone. If the platform still has neither, it returns a link that creates
// the first owner, once. If several replicas start at the same time, one of them creates each.
func (a *App) FirstStart(ctx context.Context) (string, error) {
	c := system(a.Platform.ID, "first start")
	if !a.Development {
		if err := a.seal(ctx); err != nil {
			return "", err
		}
	}
	owned, err := db.Read(ctx, a.DB, c, func(tx *db.Tx) (bool, error) { return role.Owned(ctx, tx) })
	if err != nil {
		return "", err
	}
	if a.Config.AdminEmail != "" && !owned {
		err := a.createOwner(ctx, c, a.Config.AdminEmail, a.Config.AdminPassword)
		if err != nil && !errors.Is(err, user.ErrEmailTaken) {
			return "", fmt.Errorf("first owner: %w", err)
		}
		a.Log.Info("created the first owner", "email", a.Config.AdminEmail)
		owned = true
	}
	machine, err := a.firstClient(ctx, c)
	if err != nil {
		return "", fmt.Errorf("first machine application: %w", err)
	}
	if owned || machine {
		return "", nil
	}
	return db.Write(ctx, a.DB, c, func(tx *db.Tx) (string, error) {
		token, err := credential.NewLink(ctx, tx, credential.Setup, user.User{})
		return a.url(a.Platform.Slug, "/setup?token="+token.Reveal()), err
	})
}

// firstClient creates the configured machine application if it is missing. It reports whether one
// is configured.
func (a *App) firstClient(ctx context.Context, c caller.Caller) (bool, error) {
	if a.Config.AdminClientID == "" {
		return false, nil
	}
	created, err := db.Write(ctx, a.DB, c, func(tx *db.Tx) (bool, error) {
		app, err := application.ByClientID(ctx, tx, a.Config.AdminClientID)
		if err == nil {
			if !app.CheckSecret(secret.HashOf(a.Config.AdminClientSecret), tx.Now()) {
				a.Log.Warn("the machine application of GATEHOUSE_ADMIN_CLIENT_ID keeps its other secret; "+
					"`gatehouse admin make-client` creates a new application", "client_id", app.ClientID)
			}
			return false, nil
		}
		if !errors.Is(err, application.ErrNotFound) {
			return false, err
		}
		_, err = createClient(ctx, tx, operatorClient(a.Config), role.Owner)
		return true, err
	})
	if errors.Is(err, application.ErrClientIDTaken) { // another replica was first
		return true, nil
	}
	if err == nil && created {
		a.Log.Info("created the first machine application", "client_id", a.Config.AdminClientID)
	}
	return true, err
}

// operatorClient returns the configured first machine application.
func operatorClient(cfg *config.Config) application.New {
	return application.New{
		Type: application.Machine, ClientID: cfg.AdminClientID, Secret: cfg.AdminClientSecret, Name: "Operator",
	}
}

// createOwner creates a user with the role owner in the caller's tenant. It hashes the password
// before the transaction.
func (a *App) createOwner(ctx context.Context, c caller.Caller, email string, password secret.String) error {
	phc, err := a.newPassword(ctx, email, password)
	if err != nil {
		return err
	}
	return a.DB.Update(ctx, c, func(tx *db.Tx) error {
		u, err := user.Create(ctx, tx, user.Profile{Email: email, EmailVerified: true})
		if err != nil {
			return err
		}
		if err := credential.SetPassword(ctx, tx, u.ID, phc); err != nil {
			return err
		}
		return role.Assign(ctx, tx, role.Everything(), role.OfUser(u.ID), role.Owner, time.Time{})
	})
}

// newClient is a new machine application with its secret.
type newClient struct {
	application.Application
	secret secret.String // only its hash is stored
}

// createClient creates a machine application that holds a role in the management API.
func createClient(ctx context.Context, tx *db.Tx, n application.New, roleName string) (newClient, error) {
	n.Type, n.Scopes = application.Machine, []string{application.ScopeManage}
	app, shown, err := application.Create(ctx, tx, n)
	if err != nil {
		return newClient{}, err
	}
	err = role.Assign(ctx, tx, role.Everything(), app.Subject(), roleName, time.Time{})
	return newClient{app, shown}, err
}
