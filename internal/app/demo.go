package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/outbound"
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
			{"hank@globex.example", "Hank", "Scorpio", role.Owner, "manages Globex"},
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
	users, created := 0, 0
	for _, t := range demoTenants() {
		n, err := a.seed(e.ctx, t, c.Application)
		if err != nil {
			return fmt.Errorf("tenant %s: %w", t.Slug, err)
		}
		users, created = users+len(t.users), created+n
	}
	fmt.Fprintf(e.out, "\n  %-10s %-23s %-8s %-45s %s\n", "tenant", "email address", "role", "", "account page")
	for _, t := range demoTenants() {
		for _, u := range t.users {
			fmt.Fprintf(e.out, "  %-10s %-23s %-8s %-45s %s\n",
				t.Slug, u.email, cmp.Or(u.role, "none"), u.what, a.url(t.Slug, "/account"))
		}
	}
	if created == users {
		fmt.Fprintf(e.out, "\n  The password of all of them:  %s\n", demoPassword)
	} else {
		fmt.Fprintf(e.out, "\n  Their password, unless you have changed it:  %s\n", demoPassword)
	}
	for _, t := range demoTenants() {
		if err := a.describe(e, t.Slug); err != nil {
			return err
		}
	}
	fmt.Fprintln(e.out)
	return nil
}

// describe prints how a tenant's sign-in differs from the default, in a sentence.
func (a *App) describe(e *env, slug string) error {
	by, err := a.operator(e.ctx, slug)
	if err != nil {
		return err
	}
	t, err := db.Read(e.ctx, a.DB, by, func(tx *db.Tx) (tenant.Tenant, error) { return tenant.Get(e.ctx, tx) })
	if err != nil {
		return err
	}
	var says []string
	if t.Settings.MFA == tenant.MFARequired {
		says = append(says, "asks for a second factor")
	}
	if t.Settings.Registration {
		says = append(says, "lets anyone register")
	}
	if t.Settings.Locale == "de" {
		says = append(says, "shows its pages in German")
	}
	if len(says) > 0 {
		fmt.Fprintf(e.out, "  %s %s.\n", t.Name, strings.Join(says, " and "))
	}
	return nil
}

// seed creates what is missing of a demo tenant. It returns how many users it created.
func (a *App) seed(ctx context.Context, t demoTenant, applicationURL string) (int, error) {
	phc, err := a.newPassword(ctx, "", demoPassword)
	if err != nil {
		return 0, err
	}
	if t.Slug != tenant.PlatformSlug {
		by, reason := system(a.Platform.ID, "demo"), "a new tenant belongs to no tenant yet"
		err := a.DB.System(ctx, by, reason, func(st *db.SystemTx) error {
			_, err := tenant.Create(ctx, st, t.New)
			return err
		})
		if err != nil && !errors.Is(err, tenant.ErrSlugTaken) {
			return 0, err
		}
	}
	site, err := a.Tenants.BySlug(ctx, t.Slug)
	if err != nil {
		return 0, err
	}
	by := system(site.Tenant, "demo")
	created := 0
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
		switch {
		case err == nil:
			created++
		case !errors.Is(err, user.ErrEmailTaken):
			return created, err
		}
	}
	if t.Slug == tenant.PlatformSlug {
		return created, nil
	}
	return created, a.DB.Update(ctx, by, func(tx *db.Tx) error {
		return seedApplication(ctx, tx, t.Name+" Billing", applicationURL)
	})
}

// seedApplication registers the sample application, or adds the URL at which it now runs.
func seedApplication(ctx context.Context, tx *db.Tx, name, url string) error {
	redirect, signedOut, backchannel := url+"/callback", url+"/signedout", url+"/backchannel-logout"
	if outbound.CheckURL(backchannel) != nil {
		backchannel = "" // plain http on another machine
	}
	app, err := application.ByClientID(ctx, tx, demoClientID)
	if errors.Is(err, application.ErrNotFound) {
		_, _, err := application.Create(ctx, tx, application.New{
			ClientID: demoClientID, Name: name, Type: application.Web, AuthMethod: application.AuthNone,
			RedirectURIs: []string{redirect}, PostLogoutRedirectURIs: []string{signedOut},
			BackchannelLogoutURI: backchannel,
		})
		return err
	}
	if err != nil || slices.Contains(app.RedirectURIs, redirect) {
		return err
	}
	redirects, signOuts := append(app.RedirectURIs, redirect), append(app.PostLogoutRedirectURIs, signedOut)
	patch := application.Patch{RedirectURIs: &redirects, PostLogoutRedirectURIs: &signOuts,
		BackchannelLogoutURI: &backchannel}
	_, _, err = application.Update(ctx, tx, role.Everything(), app.ID, patch)
	return err
}
