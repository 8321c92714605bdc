package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// finding is what a check found. The doctor prints it. At start, an error keeps the process from
// starting, unless it is a warning.
type finding struct {
	subject string
	err     error  // nil if the subject is healthy
	remedy  string // printed with err
	note    string // printed without err
	warning bool   // err does not keep the server from serving
	newer   bool   // of the schema: a newer release migrated it, and this binary can serve it
	empty   bool   // of the schema: there is none yet
}

// text returns the error and what to do about it.
func (f finding) text() string { return fmt.Sprintf("%s: %v\n  → %s", f.subject, f.err, f.remedy) }

// unfit is the error of a command that cannot run as things are. It lists the findings.
type unfit []finding

// Error implements error.
func (u unfit) Error() string {
	lines := make([]string, len(u))
	for i, f := range u {
		lines[i] = f.text()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is see the causes.
func (u unfit) Unwrap() []error {
	var errs []error
	for _, f := range u {
		errs = append(errs, f.err)
	}
	return errs
}

// refuse returns an error if a finding keeps the server from serving. It logs the warnings.
func refuse(log *slog.Logger, findings ...finding) error {
	var fatal unfit
	for _, f := range findings {
		switch {
		case f.err == nil:
		case f.warning:
			log.Warn(f.subject+": "+f.err.Error(), "remedy", f.remedy)
		default:
			fatal = append(fatal, f)
		}
	}
	if fatal == nil {
		return nil
	}
	return fatal
}

// portFindings binds each address once and releases it. A server that cannot listen must not
// migrate the database first.
func portFindings(cfg *config.Config) []finding {
	var out []finding
	for _, l := range []struct{ subject, address, settings string }{
		{"public listener", cfg.Listen, "--listen or GATEHOUSE_LISTEN"},
		{"ops listener", cfg.OpsListen, "--ops-listen or GATEHOUSE_OPS_LISTEN"},
		{"gRPC listener", cfg.GRPCListen, "--grpc-listen or GATEHOUSE_GRPC_LISTEN"},
	} {
		f := finding{subject: l.subject, note: l.address + " is free", err: bind(l.address)}
		f.remedy = "choose another address with " + l.settings
		if errors.Is(f.err, syscall.EADDRINUSE) {
			f.remedy = "end the program that uses it, or " + f.remedy
		}
		out = append(out, f)
	}
	return out
}

func bind(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

// filesFinding checks that other users of the machine cannot read what the data directory holds.
// Serving removes their permissions, so this is for the doctor.
func filesFinding(cfg *config.Config) finding {
	files := []string{developmentKey(cfg)}
	if cfg.Database == "" {
		files = append(files, db.SQLiteFiles(cfg.SQLite())...)
	}
	out := finding{subject: "files", note: "no other user of this machine can read them"}
	var open []string
	for _, name := range files {
		exposed, err := secret.FileExposed(name)
		if err != nil {
			out.err, out.remedy = err, "let the user that runs gatehouse read the file"
			return out
		}
		if exposed {
			open = append(open, name)
		}
	}
	if len(open) > 0 {
		out.err = fmt.Errorf("other users of this machine can read %s", strings.Join(open, ", "))
		out.remedy = "chmod 600 " + strings.Join(open, " ") + "; serve does so too"
	}
	return out
}

// schemaFinding checks that this binary can use the database, before anything changes it.
func schemaFinding(ctx context.Context, cfg *config.Config) finding {
	f := finding{subject: "schema", note: "up to date"}
	state, err := db.Inspect(ctx, database(cfg, nil))
	switch {
	case err != nil:
		return unusable(cfg, ownerSetting(cfg), err)
	case errors.Is(state.Err(), db.ErrForeign):
		return unusable(cfg, ownerSetting(cfg), state.Err())
	case state.Err() != nil:
		f.err, f.remedy = state.Err(), "name another database with --database or --data, or use another binary"
	case state.Newer():
		f.err, f.warning = fmt.Errorf("newer (%d) than this binary (%d), which can still serve it", state.Schema,
			state.Binary), true
		f.newer, f.remedy = true, "run the newer release on every replica soon"
	case state.Schema < state.Binary:
		f.err, f.warning = errors.New("older than this binary"), true
		if f.empty = state.Empty(); f.empty {
			f.err = fmt.Errorf("there is none yet in %s", where(cfg))
		}
		f.remedy = "run gatehouse migrate; serve does so too if its role may"
	}
	return f
}

// unusable returns the finding for an error of the database before the server serves. setting is
// the flag with the URL of the connection that failed. Each command that opens the database prints
// it.
func unusable(cfg *config.Config, setting string, err error) finding {
	f := finding{subject: "database"}
	if f.remedy, f.err = db.Explain(database(cfg, nil), setting, err); f.remedy == "" {
		f.remedy = "check that the database runs, and the roles of --database and --migrate-database; see " +
			"docs/guides/postgres.md"
		if cfg.Database == "" {
			f.remedy = "check " + cfg.Data + ", or name another directory with --data"
		}
	}
	return f
}

// ownerSetting returns the flag with the URL of the role that migrates.
func ownerSetting(cfg *config.Config) string {
	if cfg.MigrateDatabase == "" {
		return "--database"
	}
	return "--migrate-database"
}

// dataFinding checks that this process can create files in the data directory. It creates one and
// removes it. SQLite needs that, and a development key that does not exist yet.
func dataFinding(cfg *config.Config) finding {
	f := finding{subject: "data directory", note: cfg.Data + " can be written"}
	if cfg.Database != "" {
		_, err := os.Stat(developmentKey(cfg))
		if cfg.Keys != "" || err == nil {
			f.note = "nothing is written to it"
			return f
		}
	}
	dir := filepath.Clean(cfg.Data)
	for {
		_, err := os.Lstat(dir)
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	file, err := os.CreateTemp(dir, ".gatehouse-*")
	if err == nil {
		err = errors.Join(file.Close(), os.Remove(file.Name()))
	}
	if err != nil {
		f.err = fmt.Errorf("%s cannot be written: %w", cfg.Data, err)
		f.remedy = "let the user that runs gatehouse read and write " + cfg.Data +
			", or name another directory with --data"
	}
	return f
}

// where names the database without its URL, which holds a password.
func where(cfg *config.Config) string {
	if cfg.Database == "" {
		return cfg.SQLite()
	}
	return "--database"
}

// maxClockSkew is the maximum distance between the clocks of this machine and of the database.
// Beyond a minute tokens are refused, so half of it leaves time to act.
const maxClockSkew = 30 * time.Second

func clockFinding(ctx context.Context, d *db.DB) finding {
	f := finding{subject: "clock"}
	theirs, err := d.ServerTime(ctx)
	if err != nil {
		f.err, f.remedy = err, "check the connection to the database"
		return f
	}
	off := (clock.System{}).Now().Sub(theirs).Abs()
	if f.note = fmt.Sprintf("%s from the database's", off.Round(time.Millisecond)); off > maxClockSkew {
		f.err = fmt.Errorf("%s away from the database's", off.Round(time.Second))
		f.remedy = "synchronise both machines' clocks (NTP)"
	}
	return f
}

// outsideFindings checks what other machines do for the server: names and mail. They may come back
// while the server runs, so these findings are warnings.
func outsideFindings(ctx context.Context, cfg *config.Config) []finding {
	return []finding{publicFinding(ctx, cfg), mailFinding(ctx, cfg)}
}

func publicFinding(ctx context.Context, cfg *config.Config) finding {
	f := finding{subject: "public URL", note: cfg.PublicURL.String(), warning: true}
	if cfg.Local() {
		f.note += ", which only this machine reaches"
		return f
	}
	if _, err := net.DefaultResolver.LookupHost(ctx, cfg.PublicURL.Hostname()); err != nil {
		f.err = fmt.Errorf("%s cannot be resolved from here", cfg.PublicURL.Hostname())
		f.remedy = "create a DNS entry for it, or correct --public-url"
	}
	return f
}

func mailFinding(ctx context.Context, cfg *config.Config) finding {
	f := finding{subject: "mail", note: "printed to the log", warning: true}
	switch {
	case cfg.NoMail:
		f.note = "none is sent: smtp-url names no server"
	case cfg.SMTP != nil:
		f.note = cfg.SMTP.Host + " accepts the connection"
		f.remedy = "check the host, port, user name and password of --smtp-url, and that the server runs"
		sender, err := mail.NewSMTP(cfg.SMTP, cfg.MailFrom, nil)
		if err == nil {
			err = sender.Check(ctx)
		}
		f.err = err
	}
	return f
}
