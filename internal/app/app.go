package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp"
	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/subject"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
	"github.com/gatehouse-iam/gatehouse/internal/kit/outbound"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/policies"
)

// basePolicies are the same for every App of a process.
var (
	baseTable    = compiler.BaseTable(policies.Files)
	basePolicies = compiler.NewBase(baseTable)
)

// App is Gatehouse without its listeners. Every part exists once.
type App struct {
	Config       *config.Config
	Log          *slog.Logger
	Lines        *web.Lines // batches the log lines of requests; nil writes them to Log
	Clock        clock.Clock
	DB           *db.DB
	Ring         *secret.KeyRing
	Development  bool // Ring is the development key of the data directory
	Queue        *job.Queue
	Records      *audit.Recorder
	Decisions    *decision.Recorder
	Engine       *engine.Engine
	SignIn       *signin.Engine
	Tenants      *tenant.Directory
	Applications *application.Directory
	APIs         *resourceserver.Directory
	Keys         *signingkey.Keys
	Subjects     *subject.Keys
	Access       *access.Guard // reads every token from the database
	Hasher       *credential.Hasher
	TOTP         credential.TOTP
	Platform     tenant.Tenant
	PDP          *pdp.Door
	Mail         mail.Sender
	Calls        calls
}

// calls has a client for each purpose. So a key set or a document that is slow takes no place of
// the sign-outs.
type calls struct{ keys, sectors, notices *outbound.Client }

// Outside is what an App meets outside of the process. A zero field means the real thing. Tests
// replace it.
type Outside struct {
	Clock   clock.Clock
	Hashing credential.HasherConfig
	Mail    mail.Sender
	Keys    signingkey.Source // of new signing keys
}

// Open brings the schema up to date and builds the parts. Close the App when done.
func Open(ctx context.Context, cfg *config.Config, log *slog.Logger, outside Outside) (*App, error) {
	c, sender := outside.Clock, outside.Mail
	if c == nil {
		c = clock.System{}
	}
	if sender == nil {
		var err error
		if sender, err = configuredMail(cfg, log); err != nil {
			return nil, err
		}
	}
	d, err := migrated(ctx, cfg, log, c)
	if err != nil {
		return nil, err
	}
	platform, keyRing, err := prepare(ctx, cfg, log, d)
	if err != nil {
		d.Close()
		return nil, err
	}
	if outside.Keys == nil {
		pool := new(jose.Pool)
		pool.Fill()
		outside.Keys = pool.Get
	}
	reach := outbound.Config{Allow: cfg.OutboundAllow, Development: cfg.Development || cfg.Local()}
	keys := signingkey.New(d, keyRing, c, outside.Keys, tenant.Touch)
	tenants := tenant.NewDirectory(d, cfg.PublicURL, c, log)
	applications := application.NewDirectory(d)
	apis := resourceserver.NewDirectory(d)
	tenants.Watch(keys.Drop)
	tenants.Watch(applications.Drop)
	tenants.Watch(apis.Drop)
	decisions := decision.NewRecorder(d, keyRing, log)
	tenants.Watch(decisions.Drop)
	known := grant.NewKnown(&grant.Verifier{DB: d, Keys: keys, Issuers: tenants}, c)
	tenants.Watch(known.Drop)
	published := policy.Store{DB: d}
	decider := engine.New(published, basePolicies)
	tenants.Watch(decider.Drop)
	signIn := &signin.Engine{Policies: decider, Decisions: decisions, Tenants: tenants, Clock: c, Sealer: keyRing,
		Large: signin.NewLargeLimiter(c)}
	admission := access.Deps{
		DB: d, Rules: signIn, Tokens: known.Exact(), Sites: tenants, Applications: applications,
		Platform: tenants.Site(&platform), Clock: c,
	}
	checks := admission
	checks.Tokens = known // a decision costs less than a round trip
	decide := pdp.New(pdp.Deps{
		Access: access.New(checks), Engine: decider, Actions: decider,
		Principals: principal.New(d, tenant.NewVersions(d), c), Recorder: decisions, Clock: c,
	})
	return &App{
		Config: cfg, Log: log, Clock: c, DB: d, Ring: keyRing, Development: cfg.Keys == "",
		Queue:        job.NewQueue(keyRing),
		Records:      audit.NewRecorder(d, c, log),
		Decisions:    decisions,
		Engine:       decider,
		SignIn:       signIn,
		Tenants:      tenants,
		Applications: applications,
		APIs:         apis,
		Keys:         keys,
		Subjects:     subject.NewKeys(d, keyRing),
		Access:       access.New(admission),
		Hasher:       credential.NewHasher(outside.Hashing),
		TOTP:         credential.TOTP{Keys: keyRing},
		Platform:     platform,
		PDP:          decide,
		Mail:         sender,
		Calls:        calls{outbound.New(reach), outbound.New(reach), outbound.New(reach)},
	}, nil
}

// prepare checks what the database and this process must agree on, and creates what every database
// has.
func prepare(ctx context.Context, cfg *config.Config, log *slog.Logger, d *db.DB) (
	tenant.Tenant, *secret.KeyRing, error) {
	if err := refuse(log, clockFinding(ctx, d)); err != nil {
		return tenant.Tenant{}, nil, err
	}
	platform, err := tenant.EnsurePlatform(ctx, d)
	if err != nil {
		return tenant.Tenant{}, nil, fmt.Errorf("platform tenant: %w", err)
	}
	keyRing, err := openRing(ctx, cfg, log, d, system(platform.ID, "start"))
	return platform, keyRing, err
}

// url returns the URL of a path of a tenant.
func (a *App) url(slug, path string) string { return a.Tenants.Issuer(slug) + path }

// Close writes the queued records and closes the database.
func (a *App) Close() {
	var writers sync.WaitGroup
	writers.Go(a.Records.Close)
	writers.Go(a.Decisions.Close)
	writers.Wait()
	a.DB.Close()
}
