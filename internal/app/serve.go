package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pages"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/usage"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

type serveCommand struct {
	config.Flags `embed:""`
}

// Run serves until a signal ends it. Requests and jobs in progress finish first.
func (c *serveCommand) Run(e *env) error {
	cfg, log, err := e.load(c.Flags)
	if err != nil {
		return err
	}
	if err := refuse(log, portFindings(cfg)...); err != nil {
		return err
	}
	tuneCollector()
	a, err := Open(e.ctx, cfg, log, Outside{})
	if err != nil {
		return err
	}
	defer a.Close()
	a.Lines = web.NewLines(e.err, cfg.LogFormat == "json")
	defer a.Lines.Close()
	setup, err := a.FirstStart(e.ctx)
	if err != nil {
		return err
	}
	return a.serve(e.ctx, func(public string) {
		fmt.Fprintf(e.out, "Gatehouse serves %s on %s, database %s.\n", cfg.PublicURL, public, a.DB.Name())
		if a.Development {
			fmt.Fprintf(e.out, "Secrets are sealed with the development key in %s.\n", cfg.Data)
		}
		if setup != "" {
			fmt.Fprintln(e.out, "The platform has no owner yet. Create the first owner within a day, with this link:")
			fmt.Fprintln(e.out, " ", setup)
		}
	})
}

// serve runs the listeners, the jobs and the poller until ctx ends or a listener fails. It calls
// ready once every listener is open.
func (a *App) serve(ctx context.Context, ready func(public string)) error {
	hosted, err := a.Pages()
	if err != nil {
		return err
	}
	runner := a.Jobs(hosted)
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		counter("gatehouse_access_records_written_total", "Access records stored.", a.Records.Written),
		counter("gatehouse_access_records_dropped_total",
			"Access records lost to a full queue or a refusing database.", a.Records.Dropped),
		counter("gatehouse_decision_records_written_total", "Decision records stored.", a.Decisions.Written),
		counter("gatehouse_decision_records_dropped_total",
			"Decision records lost to a full queue or a refusing database.", a.Decisions.Dropped))

	metrics := web.NewMetrics(registry)
	limiter := a.limiter(requestsPerAddress, requestsPerAddressBurst)
	frequent := a.limiter(decisionsPerAddress, decisionsPerAddressBurst)
	public := &web.Server{
		Name: "public", Address: a.Config.Listen, Handler: a.Handler(hosted, metrics, limiter, frequent),
		CertFile: a.Config.TLSCert, KeyFile: a.Config.TLSKey, Log: a.Log, Clock: a.Clock,
		PerClient: a.perClient(), Proxies: a.proxies(),
	}
	ops := &web.Server{
		Name: "ops", Address: a.Config.OpsListen, Handler: web.OpsHandler(a.Log, registry, a.ready),
		Log: a.Log, Clock: a.Clock,
	}
	calls := &web.RPC{
		Address: a.Config.GRPCListen, CertFile: a.Config.TLSCert, KeyFile: a.Config.TLSKey,
		Secure: a.Config.PublicURL.Scheme == "https", Proxies: a.proxies(), Limiter: frequent, Metrics: metrics,
		Log: a.Log, Lines: a.Lines, Clock: a.Clock, PerClient: a.perClient(),
	}
	a.PDP.Serve(calls)
	listeners := []listener{public, ops, calls}
	if err := listen(listeners); err != nil {
		return err
	}
	if err := a.Tenants.PollOnce(ctx); err != nil {
		return err
	}
	if err := a.scheduleHousekeeping(ctx); err != nil {
		return err
	}
	ready(public.Addr().String())

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, len(listeners))
	for i, l := range listeners {
		wg.Go(func() {
			defer stop() // the others end with it
			errs[i] = l.Serve(ctx)
		})
	}
	wg.Go(func() { a.Tenants.Poll(ctx) })
	wg.Go(func() { runner.Run(ctx) })
	wg.Go(func() { _ = refuse(a.Log, outsideFindings(ctx, a.Config)...) }) // they are warnings
	wg.Wait()
	return errors.Join(errs...)
}

// listener is a web.Server or a web.RPC.
type listener interface {
	Listen() error
	Serve(ctx context.Context) error
}

// listen binds every address. Its error names each address that it cannot bind.
func listen(listeners []listener) error {
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Listen())
	}
	return errors.Join(errs...)
}

func counter(name, help string, value func() int64) prometheus.Collector {
	opts := prometheus.CounterOpts{Name: name, Help: help}
	return prometheus.NewCounterFunc(opts, func() float64 { return float64(value()) })
}

// Pages returns the hosted pages.
func (a *App) Pages() (*pages.Door, error) {
	return pages.New(pages.Deps{
		DB: a.DB, Tenants: a.Tenants, Applications: a.Applications, APIs: a.APIs, Hasher: a.Hasher,
		TOTP: a.TOTP, Queue: a.Queue, SignIn: a.SignIn,
	})
}

// Jobs returns a runner of every kind of job.
func (a *App) Jobs(hosted *pages.Door) *job.Runner {
	runner := job.NewRunner(a.DB, a.Queue, a.Clock, a.Log)
	runner.Handle(mail.JobKind, a.sendMail)
	runner.Handle(tenant.DeleteJob, (&tenant.Eraser{DB: a.DB, Clock: a.Clock}).Run)
	runner.HandleAlone(housekeepingJob, (&housekeeper{app: a, pause: pause, time: housekeepingTime}).run)
	hosted.Jobs(runner)
	notices := &logout.Deliverer{DB: a.DB, Keys: a.Keys, Subjects: a.Subjects, Outbound: a.Calls.notices,
		Clock: a.Clock,
		Issuer: func(ctx context.Context, t id.ID) (string, error) {
			found, err := a.Tenants.ByID(ctx, t)
			if err != nil {
				return "", err
			}
			return a.Tenants.Issuer(found.Slug), nil
		}}
	notices.Jobs(runner)
	return runner
}

// sendMail sends a mail of a job, and records it: usage counts what the mail server took.
func (a *App) sendMail(ctx context.Context, c caller.Caller, payload []byte) error {
	err := mail.Handle(a.Mail)(ctx, c, payload)
	if err == nil {
		a.Records.Record(c, audit.Access{Action: usage.MailSent, Target: audit.Target{Kind: "mail"}})
	}
	return err
}

func configuredMail(cfg *config.Config, log *slog.Logger) (mail.Sender, error) {
	switch {
	case cfg.NoMail:
		return mail.Discarder{Log: log}, nil
	case cfg.SMTP == nil:
		return mail.Printer{Log: log}, nil
	}
	return mail.NewSMTP(cfg.SMTP, cfg.MailFrom, nil)
}

// Limits of one client address, in requests a second and in requests at once. They stop floods;
// iam/attempt stops guessing.
const (
	requestsPerAddress      = 200
	requestsPerAddressBurst = 1000

	// An application's server asks for a decision at every step of its own.
	decisionsPerAddress      = 10_000
	decisionsPerAddressBurst = 20_000

	// Connections of one client to one listener.
	connectionsPerClient = 1024
)

// Handler returns the handler of the public listener: kit/web around the doors.
func (a *App) Handler(hosted *pages.Door, metrics *web.Metrics, limiter, frequent *web.Limiter) http.Handler {
	h := &web.Handler{
		Sites: a.Tenants, PublicURL: a.Config.PublicURL,
		Tenant: a.doors(hosted), Root: web.NewRoutes(hosted.Refuse),
		Proxies: a.proxies(), Limiter: limiter, Frequent: frequent, Metrics: metrics,
		Log: a.Log, Lines: a.Lines, Clock: a.Clock,
	}
	h.Root.Group(web.Nowhere, nil).Below("/.well-known/") // of an issuer without its path
	h.Root.Group(web.Page, nil).HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/t/"+tenant.PlatformSlug+"/account", http.StatusSeeOther)
	})
	hosted.RegisterRoot(h.Root)
	if a.Development {
		return a.sealFirst(h.Ready())
	}
	return h.Ready()
}

// ready fails unless this replica can do what it promises: what tenant.Directory.Ready asks, and
// open what the others sealed.
func (a *App) ready(ctx context.Context) error {
	if err := a.Tenants.Ready(ctx); err != nil {
		return err
	}
	return a.Keys.Check(ctx, system(a.Platform.ID, "ready"))
}

// limiter returns a limit per client address, or nil if only this machine reaches the server.
func (a *App) limiter(perSecond float64, burst int) *web.Limiter {
	if a.Config.Local() {
		return nil
	}
	return web.NewLimiter(a.Clock, perSecond, burst)
}

// perClient returns the limit of connections per client, or 0 if only this machine reaches the
// server.
func (a *App) perClient() int64 {
	if a.Config.Local() {
		return 0
	}
	return connectionsPerClient
}

func (a *App) proxies() web.Proxies {
	return web.Proxies{Trusted: a.Config.TrustedProxies, Forwarded: a.Config.Forwarded}
}
