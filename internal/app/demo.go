package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

type demoCommand struct {
	Application  string `name:"application-url" default:"http://127.0.0.1:8090" placeholder:"URL" help:"URL of the sample application. Default http://127.0.0.1:8090."`
	config.Flags `embed:"" group:"Configuration, as for gatehouse serve:"`
}

// demoPassword is the password of every demo user. The command prints it, and refuses to seed a
// server that other machines reach.
const demoPassword = "correct horse battery"

// demoClientID is the client_id of the sample application, in every demo tenant.
const demoClientID = "demo-webapp"

type demoTenant struct {
	tenant.New
	users []demoUser
}

type demoUser struct {
	email, given, family string
	role                 string // built-in role; empty for none
	what                 string // what the role means, for people
}

func demoTenants() []demoTenant {
	acme, globex := tenant.DefaultSettings(), tenant.DefaultSettings()
	acme.MFA, acme.Registration, acme.VerifyEmail, acme.Accent = tenant.MFARequired, true, false, "#0f766e"
	globex.Locale, globex.Accent = "de", "#7c3aed"
	return []demoTenant{
		{tenant.New{Slug: tenant.PlatformSlug}, []demoUser{
			{"olga@platform.example", "Olga", "Operator", role.Owner, "creates tenants and manages all of them"}}},
		{tenant.New{Slug: "acme", Name: "Acme", Settings: &acme}, []demoUser{
			{"ada@acme.example", "Ada", "Lovelace", role.Owner, "manages Acme: users, applications, policies"},
			{"grace@acme.example", "Grace", "Hopper", "", "uses Acme's applications"}}},
		{tenant.New{Slug: "globex", Name: "Globex", Settings: &globex}, []demoUser{
			{"hank@globex.example", "Hank", "Scorpio", role.Owner, "manages Globex, whose pages are in German"},
			{"homer@globex.example", "Homer", "Simpson", "", "uses Globex's applications"}}},
	}
}

var errDemoPublic = errors.New("the demo's passwords are public, so only a server with a public URL of this machine " +
	"gets them; choose another --public-url, or create tenants of your own")

// Run creates the tenants, users and applications that are missing. A second run changes nothing.
func (c *demoCommand) Run(e *env) error {
	a, err := e.open(c.Flags)
	if err != nil {
		return err
	}
	defer a.Close()
	if !a.Config.Local() {
		return errDemoPublic
	}
	for _, t := range demoTenants() {
		if err := a.seed(e.ctx, t, c.Application); err != nil {
			return fmt.Errorf("tenant %s: %w", t.Slug, err)
		}
	}
	fmt.Fprintf(e.out, "\n  %-10s %-23s %-8s %-45s %s\n", "tenant", "email address", "role", "", "account page")
	for _, t := range demoTenants() {
		for _, u := range t.users {
			fmt.Fprintf(e.out, "  %-10s %-23s %-8s %-45s %s\n",
				t.Slug, u.email, cmp.Or(u.role, "none"), u.what, a.url(t.Slug, "/account"))
		}
	}
	fmt.Fprintf(e.out, `
  The password of all of them:  %s
  Acme asks for an authenticator app at the first sign-in, and lets anyone register.

`, demoPassword)
	return nil
}

// seed creates what is missing of a demo tenant.
func (a *App) seed(ctx context.Context, t demoTenant, applicationURL string) error {
	phc, err := a.newPassword(ctx, "", demoPassword)
	if err != nil {
		return err
	}
	if t.Slug != tenant.PlatformSlug {
		by, reason := system(a.Platform.ID, "demo"), "a new tenant belongs to no tenant yet"
		err := a.DB.System(ctx, by, reason, func(st *db.SystemTx) error {
			_, err := tenant.Create(ctx, st, t.New)
			return err
		})
		if err != nil && !errors.Is(err, tenant.ErrSlugTaken) {
			return err
		}
	}
	site, err := a.Tenants.BySlug(ctx, t.Slug)
	if err != nil {
		return err
	}
	by := system(site.Tenant, "demo")
	for _, u := range t.users {
		err := a.DB.Update(ctx, by, func(tx *db.Tx) error {
			made, err := user.Create(ctx, tx, user.Profile{
				Email: u.email, EmailVerified: true, GivenName: u.given, FamilyName: u.family,
			})
			if err != nil {
				return err
			}
			if err := credential.SetPassword(ctx, tx, made.ID, phc); err != nil || u.role == "" {
				return err
			}
			return role.Assign(ctx, tx, role.Everything(), role.OfUser(made.ID), u.role, time.Time{})
		})
		if err != nil && !errors.Is(err, user.ErrEmailTaken) {
			return err
		}
	}
	if t.Slug == tenant.PlatformSlug {
		return nil
	}
	return a.DB.Update(ctx, by, func(tx *db.Tx) error {
		return seedApplication(ctx, tx, t.Name+" Billing", applicationURL)
	})
}

// seedApplication registers the sample application, or adds the URL at which it now runs.
func seedApplication(ctx context.Context, tx *db.Tx, name, url string) error {
	redirect, signedOut := url+"/callback", url+"/signedout"
	app, err := application.ByClientID(ctx, tx, demoClientID)
	if errors.Is(err, application.ErrNotFound) {
		_, _, err := application.Create(ctx, tx, application.New{
			ClientID: demoClientID, Name: name, Type: application.Web, AuthMethod: application.AuthNone,
			RedirectURIs: []string{redirect}, PostLogoutRedirectURIs: []string{signedOut},
		})
		return err
	}
	if err != nil || slices.Contains(app.RedirectURIs, redirect) {
		return err
	}
	redirects, signOuts := append(app.RedirectURIs, redirect), append(app.PostLogoutRedirectURIs, signedOut)
	patch := application.Patch{RedirectURIs: &redirects, PostLogoutRedirectURIs: &signOuts}
	_, _, err = application.Update(ctx, tx, role.Everything(), app.ID, patch)
	return err
}
