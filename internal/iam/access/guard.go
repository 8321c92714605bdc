package access

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Tokens verifies access tokens; grant.Known implements it.
type Tokens interface {
	Verify(ctx context.Context, c caller.Caller, bearer string, along grant.Along) (grant.Token, error)
	Explain(ctx context.Context, c caller.Caller, bearer string, err error) error
}

// Sites finds active tenants; tenant.Directory implements it. Both methods fail as those of
// web.SiteResolver do.
type Sites interface {
	ByIssuer(ctx context.Context, issuer string) (web.Site, error)
	Active(ctx context.Context, tenant id.ID) (web.Site, error)
}

// Applications finds applications; application.Directory implements it.
type Applications interface {
	ByID(ctx context.Context, c caller.Caller, app id.ID) (*application.Application, error)
	ByClientID(ctx context.Context, c caller.Caller, clientID string) (*application.Application, error)
}

// Rules are the tenant's rules of signing in; signin.Engine is one. CheckToken fails with
// grant.ErrToken for a token that they refuse, and with grant.ErrStepUp.
// CheckConsole fails with session.ErrNone for a session that is not enough for the admin console.
type Rules interface {
	CheckToken(ctx context.Context, tx *db.Tx, t grant.Token) error
	CheckConsole(ctx context.Context, tx *db.Tx, on session.Session) error
}

// Deps are what a Guard works with.
type Deps struct {
	DB           *db.DB // for Want.Rights and Rules
	Rules        Rules  // asked at every use of a user's token
	Tokens       Tokens
	Sites        Sites // of the bases of tenants
	Applications Applications
	Platform     web.Site // the platform tenant's, for Want.Operators
	Clock        clock.Clock
}

// Guard admits bearer tokens, and the cookies of the admin console. It is safe for concurrent use.
type Guard struct {
	Deps
	// issuers maps the hash of a JWT to the issuer that it claims. A hash collision cannot admit
	// a wrong token: Verify still checks the real issuer.
	issuers *cache.Cache[uint64, string]
	seed    maphash.Seed
	refused *audit.Refusals
}

// Limits on the remembered issuers. The tokens are not verified, so a stranger can fill the cache.
const (
	issuersMaxBytes  = 6 << 20 // about 20,000 issuers of usual length
	issuerExtraBytes = 256     // what a remembered issuer takes besides its text
	issuerMaxBytes   = 512     // of an issuer that is remembered: none of ours is longer
)

// New returns a guard.
func New(d Deps) *Guard {
	issuers := cache.New[uint64](cache.Options[string]{
		Max:  issuersMaxBytes,
		Cost: func(issuer string) int64 { return int64(len(issuer)) + issuerExtraBytes },
	})
	return &Guard{Deps: d, issuers: issuers, seed: maphash.MakeSeed(), refused: audit.NewRefusals()}
}

// Want says what a door asks of a token.
type Want struct {
	// Own has the scope that the token must have, and the path below a base that counts as an
	// audience besides the base itself.
	resourceserver.Own
	User      bool // the token must be a user's, not an application's own
	Operators bool // a token of the platform tenant is accepted at every tenant's base
	Rights    bool // read from the database what the holder may do
	Console   bool // the cookie of the admin console is accepted instead of a token
	// Along returns what else is read of a token's holder, if that costs no round trip; or nil.
	Along grant.Along
}

// Holder is the user or application that an admitted token belongs to.
type Holder struct {
	Caller      caller.Caller // acts as the holder on the tenant that the request addressed
	Home        web.Site      // of the tenant whose token it is
	Token       grant.Token
	Application *application.Application // the token was issued to it; shared, do not change it
	Rights      role.Set                 // with Want.Rights: what the holder may do at this moment
}

// Admit verifies a proof that was presented to site, and returns its holder. c is the request's
// anonymous caller. It fails with grant.ErrToken for a token that is not good here, and with
// ErrScope for a good one without the scope. It fails with grant.ErrStepUp if the person must sign
// in more strongly or again, and with session.ErrNone for a cookie that opens nothing. Each fault
// of a token has its cause; see Why.
func (g *Guard) Admit(ctx context.Context, c caller.Caller, site web.Site, p Proof, want Want) (Holder, error) {
	home, console := site, p.Bearer == "" && want.Console
	if !console && want.Operators && site.Tenant != g.Platform.Tenant && g.claimsPlatform(ctx, p.Bearer) {
		home = g.Platform
	}
	atHome := c
	atHome.Tenant = home.Tenant
	var token grant.Token
	var err error
	if console {
		token, err = g.ofConsole(ctx, atHome, home, want, p.Console)
	} else if token, err = g.Tokens.Verify(ctx, atHome, p.Bearer, want.Along); err != nil {
		err = g.Tokens.Explain(ctx, atHome, p.Bearer, err)
	}
	if err != nil {
		return Holder{}, err
	}
	app, err := g.Applications.ByID(ctx, atHome, token.Application)
	if errors.Is(err, application.ErrNotFound) || err == nil && app.Status != application.Active {
		return Holder{}, grant.ErrToken.Because(errors.New("its application is disabled or deleted"))
	}
	if err != nil {
		return Holder{}, err
	}
	if err := g.suits(ctx, atHome, home, token, app, want, console); err != nil {
		return Holder{}, &refusal{err, app.ClientID, app, actorOf(home, token, app)}
	}
	h := Holder{Caller: c.As(actorOf(home, token, app)), Home: home, Token: token, Application: app}
	if want.Rights {
		h.Rights, err = db.Read(ctx, g.DB, atHome, func(tx *db.Tx) (role.Set, error) {
			return rightsOf(ctx, tx, token)
		})
	}
	return h, err
}

// suits fails unless a valid token is good for what the door wants. For one of the console,
// ofConsole has asked the rules.
func (g *Guard) suits(
	ctx context.Context, atHome caller.Caller, home web.Site, t grant.Token, app *application.Application, want Want,
	console bool,
) error {
	if err := g.meantFor(ctx, home, t, want.Path); err != nil {
		return err
	}
	switch {
	case want.User && t.User.IsZero():
		return errNoUser
	case !t.Has(want.Scope):
		return LacksScope(want.Scope).Because(fmt.Errorf("it has only %q", t.Scopes))
	case !app.MayHave(want.Scope): // it lost the scope after the token was issued
		return LacksScope(want.Scope).Because(errors.New("its application may no longer have it"))
	case t.User.IsZero(), console:
		return nil
	}
	return g.DB.View(ctx, atHome, func(tx *db.Tx) error { return g.Rules.CheckToken(ctx, tx, t) })
}

// errNoUser is the grant.ErrToken of an application's own token where a person's is due.
var errNoUser = fault.New(grant.ErrToken.Kind, grant.ErrToken.Code,
	"The access token is valid, but it is an application's own. Get one that a person signed in for.")

// actorOf returns the user of a token, or the application of one that has no user.
func actorOf(home web.Site, t grant.Token, app *application.Application) caller.Actor {
	if t.User.IsZero() {
		return caller.Actor{Kind: caller.Application, ID: app.ID, Tenant: home.Tenant, Name: app.Name}
	}
	return caller.Actor{
		Kind: caller.User, ID: t.User, Tenant: home.Tenant, Name: t.UserName, Via: app.ID, Session: t.Session,
	}
}

// rightsOf returns what the holder of a token may do with it. For a user's token that is what both
// the user and the application may do: an application's roles say how much it may do for its users.
// The admin console is ours, and limits no user.
func rightsOf(ctx context.Context, tx *db.Tx, t grant.Token) (role.Set, error) {
	if t.Application == application.ConsoleID {
		return role.ActionsOf(ctx, tx, role.OfUser(t.User))
	}
	allowed, err := role.ActionsOf(ctx, tx, role.OfApplication(t.Application))
	if err != nil || t.User.IsZero() {
		return allowed, err
	}
	own, err := role.ActionsOf(ctx, tx, role.OfUser(t.User))
	return own.Within(allowed), err
}

// meantFor fails with grant.ErrAudience unless a base of the tenant, or the path at below one, is
// in the token's audience. A token that was issued under a custom domain has that domain there. A
// token for a registered API has only the API there.
func (g *Guard) meantFor(ctx context.Context, home web.Site, t grant.Token, at string) error {
	if slices.Contains(t.Audience, home.Base) {
		return nil
	}
	for _, audience := range t.Audience {
		audience = strings.TrimSuffix(audience, at)
		site, err := g.Sites.ByIssuer(ctx, audience)
		if err == nil && site.Tenant == home.Tenant {
			return nil
		}
		if err != nil && fault.Of(err) != fault.NotFound && fault.Of(err) != fault.Denied {
			return err
		}
	}
	return grant.ErrAudience.Because(fmt.Errorf("its audience is %q", t.Audience))
}

// Home returns the site of the tenant that a token claims to be from, for a call that names no
// tenant. The claim is not verified: Admit does that. It fails with grant.ErrToken for a token
// that claims no tenant of ours.
func (g *Guard) Home(ctx context.Context, bearer string) (web.Site, error) {
	if t, err := secret.ParseToken(bearer); err == nil {
		site, err := g.Sites.Active(ctx, t.Tenant)
		return site, unknownHome(err)
	}
	site, err := g.Sites.ByIssuer(ctx, g.issuerOf(bearer))
	return site, unknownHome(err)
}

func unknownHome(err error) error {
	if err != nil && fault.Of(err) == fault.NotFound {
		return grant.ErrToken.Because(errors.New("it is of no tenant here"))
	}
	return err
}

// claimsPlatform reports whether a token claims, unverified, to be from the platform tenant.
func (g *Guard) claimsPlatform(ctx context.Context, bearer string) bool {
	if t, err := secret.ParseToken(bearer); err == nil {
		return t.Tenant == g.Platform.Tenant
	}
	issuer := g.issuerOf(bearer)
	if issuer == g.Platform.Base {
		return true
	}
	site, err := g.Sites.ByIssuer(ctx, issuer)
	return err == nil && site.Tenant == g.Platform.Tenant
}

// issuerOf returns the unverified iss claim of a JWT, or "".
func (g *Guard) issuerOf(jwt string) string {
	hash := maphash.String(g.seed, jwt)
	issuer, ok := g.issuers.Lookup(id.ID{}, hash)
	if !ok {
		issuer = jose.Peek(jwt).Issuer
		if len(issuer) <= issuerMaxBytes {
			g.issuers.Put(id.ID{}, hash, issuer)
		}
	}
	return issuer
}
