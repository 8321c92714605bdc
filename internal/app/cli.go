package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Exit codes of the binary.
const (
	exitFailed = 1 // the command failed
	exitUsage  = 2 // the command line or the configuration is wrong
)

type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the server."`
	Migrate migrateCommand `cmd:"" help:"Migrate the database, as the role that owns it."`
	Doctor  doctorCommand  `cmd:"" help:"Check the configuration, the database, its roles, the clock and the keys, and say what to do."`
	Demo    demoCommand    `cmd:"" help:"Create two tenants with users and an application, to try things with."`
	Admin   struct {
		ResetOwner resetOwnerCommand `cmd:"" help:"Reset an owner's password, or create an owner."`
		MakeClient makeClientCommand `cmd:"" help:"Create a machine application with a role, for scripts."`
	} `cmd:"" help:"Regain access without the API."`
	Keys struct {
		New    newKeyCommand     `cmd:"" help:"Print a new key for the key ring of --keys."`
		Rotate rotateKeysCommand `cmd:"" help:"Rotate a tenant's signing keys."`
	} `cmd:"" help:"Create keys at rest, rotate signing keys."`
	Policy  policyCommands   `cmd:"" help:"Validate, test, compare, publish and move policies."`
	PDP     pdpProxyCommand  `cmd:"" name:"pdp-proxy" help:"Run a sidecar that asks the decision API for an application, with its token."`
	Version versionCommand   `cmd:"" help:"Print the version."`
	Show    kong.VersionFlag `name:"version" help:"Print the version."`
}

const about = `Multi-tenant identity and access management in one binary.

Every flag is also an environment variable, such as GATEHOUSE_OPS_LISTEN for
--ops-listen, and a key of the YAML file that --config names. A secret can be in
a file, such as GATEHOUSE_KEYS_FILE. Flags override the environment, and the
environment overrides the file.

Examples:
  gatehouse serve
  gatehouse serve --database postgres://gatehouse@db/gatehouse --public-url https://id.example.com
  GATEHOUSE_ADMIN_EMAIL=ada@example.com GATEHOUSE_ADMIN_PASSWORD_FILE=/run/secrets/ada gatehouse serve
  gatehouse demo && gatehouse serve
  gatehouse doctor --config /etc/gatehouse.yaml
  gatehouse admin reset-owner --email ada@example.com`

// Main runs the binary with its arguments and returns its exit code.
func Main(args []string, environ []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := -1
	var c cli
	parser, err := kong.New(&c, kong.Name("gatehouse"), kong.Description(about), kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { code = n }), kong.UsageOnError(), kong.Vars{"version": "gatehouse " + version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		panic(err) // a command above is declared wrongly
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // gatehouse help serve
		args = append(slices.Clone(args[1:]), "--help")
	}
	k, err := parser.Parse(args)
	if code >= 0 { // --help or --version
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "gatehouse: %v\nRun %s --help for the commands and flags.\n", err, commandOf(err))
		return exitUsage
	}
	err = k.Run(&env{ctx: ctx, environ: environ, out: stdout, err: stderr})
	defer func() { fmt.Fprint(stderr, db.Advise(err)) }()
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(config.Error)):
		fmt.Fprintln(stderr, "gatehouse:", err)
		return exitUsage
	}
	if u, ok := errors.AsType[unfit](err); ok { // its causes may be faults, which know no setting
		fmt.Fprintln(stderr, "gatehouse:", u)
		return exitFailed
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Kind != fault.Internal {
		fmt.Fprintln(stderr, "gatehouse:", f.Reason)
		for _, fd := range f.Fields {
			if fd.Reason == f.Reason { // said already
				continue
			}
			fmt.Fprintf(stderr, "  %s: %s\n", fd.Name, fd.Reason)
		}
		if cause := errors.Unwrap(f); cause != nil {
			fmt.Fprintln(stderr, "  cause:", cause)
		}
		return exitFailed
	}
	fmt.Fprintln(stderr, "gatehouse:", err)
	return exitFailed
}

// commandOf names the command whose arguments a parse error is about.
func commandOf(err error) string {
	name := "gatehouse"
	wrong, ok := errors.AsType[*kong.ParseError](err)
	if !ok {
		return name
	}
	for _, part := range wrong.Context.Path {
		if part.Command != nil {
			name += " " + part.Command.Name
		}
	}
	return name
}

// env is the environment of a command.
type env struct {
	ctx      context.Context
	environ  []string
	out, err io.Writer
}

// load reads the configuration and opens the log, which goes to stderr.
func (e *env) load(flags config.Flags) (*config.Config, *slog.Logger, error) {
	cfg, err := config.Load(flags, e.environ, rules()...)
	if err != nil {
		return nil, nil, err
	}
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return cfg, slog.New(slog.NewJSONHandler(e.err, opts)), nil
	}
	return cfg, slog.New(slog.NewTextHandler(e.err, opts)), nil
}

// rules returns the rules of the features that the first owner and the first machine application
// must follow.
func rules() []config.Rule {
	reason := func(err error, fields ...string) string {
		f, ok := errors.AsType[*fault.Fault](err)
		if !ok {
			return ""
		}
		for _, wrong := range f.Fields {
			if slices.Contains(fields, wrong.Name) {
				return wrong.Reason
			}
		}
		return ""
	}
	return []config.Rule{
		{Setting: "admin-email", Check: func(c *config.Config) string {
			return reason(user.Profile{Email: c.AdminEmail}.Check(), "email")
		}},
		{Setting: "admin-password", Check: func(c *config.Config) string {
			return reason(checkPassword(c.AdminEmail, c.AdminPassword), "password")
		}},
		{Setting: "admin-client-id", Check: func(c *config.Config) string {
			return reason(operatorClient(c).Check(), "client_id")
		}},
		{Setting: "admin-client-secret", Check: func(c *config.Config) string {
			return reason(operatorClient(c).Check(), "secret")
		}},
	}
}

// open loads the configuration and opens the App for a command other than the server. Close the App
// when done.
func (e *env) open(flags config.Flags) (*App, error) {
	cfg, log, err := e.load(flags)
	if err != nil {
		return nil, err
	}
	return Open(e.ctx, cfg, log, Outside{})
}

// recovery has the flags of the commands that repair a deployment. With a wrong --data or
// --database, they would create another deployment and repair that one.
type recovery struct {
	Create       bool `help:"Create what is missing: the database, and the owner of reset-owner."`
	config.Flags `embed:"" group:"Configuration, as for gatehouse serve:"`
}

// open opens the App. Without --create it fails if there is no database yet.
func (r recovery) open(e *env) (*App, error) {
	cfg, log, err := e.load(r.Flags)
	if err != nil {
		return nil, err
	}
	if !r.Create {
		schema := schemaFinding(e.ctx, cfg)
		if schema.err != nil && !schema.warning {
			return nil, unfit{schema}
		}
		if schema.empty {
			return nil, fmt.Errorf("there is no database yet in %s: correct --data or --database, "+
				"or create one with --create", where(cfg))
		}
	}
	return Open(e.ctx, cfg, log, Outside{})
}

type versionCommand struct{}

// Run prints the version of the module.
func (versionCommand) Run(e *env) error {
	fmt.Fprintln(e.out, "gatehouse", version())
	return nil
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(development)"
	}
	return info.Main.Version
}
