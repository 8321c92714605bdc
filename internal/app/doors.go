package app

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/doors/admin"
	"github.com/gatehouse-iam/gatehouse/internal/doors/console"
	"github.com/gatehouse-iam/gatehouse/internal/doors/oidc"
	"github.com/gatehouse-iam/gatehouse/internal/doors/pages"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/claim"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/invitation"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/usage"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// doors returns the routes of every tenant.
func (a *App) doors(hosted *pages.Door) *web.Routes {
	routes := web.NewRoutes(hosted.Refuse)
	hosted.Register(routes)
	gate := admin.NewGate(admin.Deps{
		DB: a.DB, Access: a.Access, Engine: a.Engine, Decisions: a.Decisions, Clock: a.Clock,
		Ring: a.Ring,
	})
	oidc.New(oidc.Deps{
		DB: a.DB, Tenants: a.Tenants, Applications: a.Applications, APIs: a.APIs,
		Access: a.Access, Keys: a.Keys, Subjects: a.Subjects, Issuers: a.Tenants, Ring: a.Ring,
		Records: a.Records,
		Clock:   a.Clock, SignIn: a.SignIn, Outbound: a.Calls.keys,
	}).Register(routes)
	a.PDP.Register(routes)
	admin.Mount(routes, gate, a.operations(hosted)...)
	console.New(console.Deps{DB: a.DB, SignIn: a.SignIn, Files: console.Built}).Register(routes)
	return routes
}

// operations returns the management API, feature by feature.
func (a *App) operations(hosted *pages.Door) [][]api.Operation {
	minLength := func(ctx context.Context, t id.ID) (int, error) {
		found, err := a.Tenants.ByID(ctx, t)
		if err != nil {
			return 0, err
		}
		return found.Settings.PasswordMinLength, nil
	}
	passwords := credential.PasswordPreparer{Hasher: a.Hasher, MinLength: minLength}
	return [][]api.Operation{
		tenant.Operations(tenant.Deps{Directory: a.Tenants, Queue: a.Queue,
			InviteOwner: invitation.OfOwner(a.Tenants, hosted.MailInvitation)}),
		user.Operations(role.ForUsers(), passwords, signin.EndOfStatus, signin.EndOfDeleted),
		group.Operations(role.ForGroups()),
		role.Operations(func(ctx context.Context, tx *db.Tx, app id.ID) (role.Subject, error) {
			a, err := application.Get(ctx, tx, app)
			return a.Subject(), err
		}, application.TargetOf),
		credential.Operations(credential.Deps{Passwords: passwords, TOTP: a.TOTP, Reset: endOfReset}),
		invitation.Operations(invitation.Deps{Tenants: a.Tenants, Mail: hosted.MailInvitation}),
		application.Operations(application.Deps{Disabled: signin.EndOfApplication, Online: signin.EndOfOffline,
			Publish: a.Keys.Publish, Compile: claim.Compile, ByID: a.Applications.ByID,
			Sectors:      application.NewSectors(a.DB, a.Calls.sectors, a.Clock),
			CheckDefault: resourceserver.CheckDefault}),
		claim.Operations(a.Subjects),
		resourceserver.Operations(resourceserver.Deps{Ours: a.Tenants.Serves, Publish: a.Keys.Publish}),
		policy.Operations(policy.Deps{Acknowledged: decision.Acknowledged}),
		session.Operations(logout.End),
		grant.Operations(),
		signingkey.Operations(a.Keys),
		audit.Operations(),
		usage.Operations(a.Platform.ID),
		decision.Operations(decision.Deps{Clock: a.Clock, Base: baseTable}),
	}
}

// endOfReset ends what an administrator's reset of a credential ends.
func endOfReset(ctx context.Context, tx *db.Tx, u id.ID) error {
	return signin.End(ctx, tx, signin.CredentialReset, u, id.ID{})
}
