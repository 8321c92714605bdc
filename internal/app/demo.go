package app

import (
	"context"
	"errors"
	"fmt"
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
	config.Flags `embed:""`
	Application  string `name:"application-url" default:"http://127.0.0.1:8090" placeholder:"URL" help:"Where the sample application runs. Default http://127.0.0.1:8090."`
}

// demoPassword is every demo user's. It is printed, so the command refuses to
// seed what others can reach.
const demoPassword = "correct horse battery"

// demoClientID is the sample application's, in every demo tenant.
const demoClientID = "demo-webapp"

type demoTenant struct {
	tenant.New
	users []demoUser
}

type demoUser struct {
	email, given, family, role string
}

func demoTenants() []demoTenant {
	acme, globex := tenant.DefaultSettings(), tenant.DefaultSettings()
	acme.MFA, acme.Registration, acme.VerifyEmail, acme.Accent = tenant.MFARequired, true, false, "#0f766e"
	globex.Locale, globex.Accent = "de", "#7c3aed"
	return []demoTenant{
		{tenant.New{Slug: tenant.PlatformSlug}, []demoUser{{"olga@platform.example", "Olga", "Operator", role.Owner}}},
		{tenant.New{Slug: "acme", Name: "Acme", Settings: &acme}, []demoUser{
			{"ada@acme.example", "Ada", "Lovelace", role.Owner}, {"grace@acme.example", "Grace", "Hopper", ""}}},
		{tenant.New{Slug: "globex", Name: "Globex", Settings: &globex}, []demoUser{
			{"hank@globex.example", "Hank", "Scorpio", role.Owner}, {"homer@globex.example", "Homer", "Simpson", ""}}},
	}
}

var errDemoPublic = errors.New("the demo's passwords are public, so it is seeded only where the public URL is this machine's own; choose another --public-url or make your own tenants")

// Run seeds what is missing, so running it twice changes nothing.
func (c *demoCommand) Run(e *env) error {
	a, err := e.open(c.Flags)
	if err != nil {
		return err
	}
	defer a.Close()
	if !a.Config.Local() {
		return errDemoPublic
	}
	fmt.Fprintln(e.out, "Seeding the demo…")
	for _, t := range demoTenants() {
		if err := a.seed(e.ctx, t, c.Application); err != nil {
			return fmt.Errorf("tenant %s: %w", t.Slug, err)
		}
	}
	fmt.Fprintf(e.out, "\n  %-10s %-24s %s\n", "tenant", "who", "where")
	for _, t := range demoTenants() {
		for _, u := range t.users {
			fmt.Fprintf(e.out, "  %-10s %-24s %s\n", t.Slug, u.email, a.url(t.Slug, "/account"))
		}
	}
	fmt.Fprintf(e.out, `
Everybody's password is:  %s
Acme asks for an authenticator app at the first sign-in and lets strangers register.
The sample application (client_id %s) is expected at %s.
`, demoPassword, demoClientID, c.Application)
	return nil
}

func (a *App) seed(ctx context.Context, t demoTenant, applicationURL string) error {
	phc, err := a.newPassword(ctx, "", demoPassword)
	if err != nil {
		return err
	}
	if t.Slug != tenant.PlatformSlug {
		err := a.DB.System(ctx, system(a.Platform.ID, "demo"), "a new tenant belongs to no tenant yet", func(st *db.SystemTx) error {
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
			made, err := user.Create(ctx, tx, user.New{Email: u.email, EmailVerified: true, GivenName: u.given, FamilyName: u.family})
			if err != nil {
				return err
			}
			if err := credential.SetPassword(ctx, tx, made.ID, phc); err != nil || u.role == "" {
				return err
			}
			return role.Give(ctx, tx, role.Everything(), role.OfUser(made.ID), u.role, time.Time{})
		})
		if err != nil && !errors.Is(err, user.ErrEmailTaken) {
			return err
		}
	}
	if t.Slug == tenant.PlatformSlug {
		return nil
	}
	err = a.DB.Update(ctx, by, func(tx *db.Tx) error {
		_, _, err := application.Create(ctx, tx, application.New{
			ClientID: demoClientID, Name: t.Name + " Billing", Type: application.Web, AuthMethod: application.AuthNone,
			RedirectURIs: []string{applicationURL + "/callback"}, PostLogoutRedirectURIs: []string{applicationURL + "/signedout"},
		})
		return err
	})
	if errors.Is(err, application.ErrClientIDTaken) {
		return nil
	}
	return err
}
