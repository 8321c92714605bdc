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
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Exit codes of the binary.
const (
	exitFailed = 1 // what was asked could not be done
	exitUsage  = 2 // the command line or the configuration is wrong
)

type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the server."`
	Migrate migrateCommand `cmd:"" help:"Bring the database's schema up to date, as the role that owns it."`
	Doctor  doctorCommand  `cmd:"" help:"Check configuration, database, roles, clock and keys, and say what to do."`
	Demo    demoCommand    `cmd:"" help:"Seed two tenants, users and an application to try things with."`
	Admin   struct {
		ResetOwner resetOwnerCommand `cmd:"" help:"Give an owner a new password, or make one: the way back in when locked out."`
		MakeClient makeClientCommand `cmd:"" help:"Make a machine application with a role, for scripts."`
	} `cmd:"" help:"Recover access without the API."`
	Keys struct {
		New    newKeyCommand     `cmd:"" help:"Print a new key for the ring of --keys."`
		Rotate rotateKeysCommand `cmd:"" help:"Rotate a tenant's signing keys."`
	} `cmd:"" help:"Keys at rest and signing keys."`
	Policy  policyCommands `cmd:"" help:"Check, test, publish, compare and move policies."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

const about = `Multi-tenant identity and access management in one binary.

Every flag can also be set as GATEHOUSE_… in the environment (--ops-listen is
GATEHOUSE_OPS_LISTEN; secrets also as GATEHOUSE_…_FILE) or in the YAML file of
--config. Flags win over the environment, the environment over the file.

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
		kong.Exit(func(n int) { code = n }), kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		panic(err) // the commands above are declared wrongly
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if code >= 0 { // --help
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "gatehouse: %v\nRun gatehouse --help to see what there is.\n", err)
		return exitUsage
	}
	err = k.Run(&env{ctx: ctx, environ: environ, out: stdout, err: stderr})
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(config.Error)):
		fmt.Fprintln(stderr, "gatehouse:", err)
		return exitUsage
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Kind != fault.Internal {
		fmt.Fprintln(stderr, "gatehouse:", f.Reason)
		for _, fd := range f.Fields {
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

// env is what every command runs in.
type env struct {
	ctx      context.Context
	environ  []string
	out, err io.Writer
}

// load judges the configuration and makes the log, which goes to stderr.
func (e *env) load(flags config.Flags) (*config.Config, *slog.Logger, error) {
	cfg, err := config.Load(flags, e.environ)
	if err != nil {
		return nil, nil, err
	}
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return cfg, slog.New(slog.NewJSONHandler(e.err, opts)), nil
	}
	return cfg, slog.New(slog.NewTextHandler(e.err, opts)), nil
}

// open loads the configuration and opens the application for a command that is
// not the server; close it when done.
func (e *env) open(flags config.Flags) (*App, error) {
	cfg, log, err := e.load(flags)
	if err != nil {
		return nil, err
	}
	return Open(e.ctx, cfg, log, Outside{})
}

type versionCommand struct{}

// Run prints the version that the module was built at.
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
