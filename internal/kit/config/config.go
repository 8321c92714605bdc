// Package config reads Gatehouse's configuration: flags first, then GATEHOUSE_… environment
// variables, then a YAML file, then defaults. A secret may also come from a file, named by
// GATEHOUSE_…_FILE.
//
// It is strict. An unknown name, an unusable value and a combination that must not run are
// faults, and Load reports all of them at once.
//
// The package opens only the files that the configuration names.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Flags are the settings as text. Embed them in a command of kong.
//
// An empty field was not given. The tags are the only list of settings. name is the flag and the
// YAML key, and GATEHOUSE_NAME is the variable. A setting with the tag secret has a _FILE variant
// too, and no message shows its value.
type Flags struct {
	Config string `name:"config" placeholder:"FILE" help:"YAML file with any of these settings under the same names."`

	Listen         string `name:"listen" placeholder:"HOST:PORT" fallback:"127.0.0.1:8080" help:"Address of the public listener. Default 127.0.0.1:8080."`
	OpsListen      string `name:"ops-listen" placeholder:"HOST:PORT" fallback:"127.0.0.1:8081" help:"Address of /livez, /readyz and /metrics. Default 127.0.0.1:8081."`
	GRPCListen     string `name:"grpc-listen" placeholder:"HOST:PORT" fallback:"127.0.0.1:8082" help:"Address of the decision API over gRPC, which uses TLS if the public listener does. Default 127.0.0.1:8082."`
	PublicURL      string `name:"public-url" placeholder:"URL" help:"URL of the public listener for browsers and applications, without a path. Issuers begin with it. Default: the listener's address."`
	TrustedProxies string `name:"trusted-proxies" placeholder:"CIDR,…" help:"Proxies trusted to report the client address and scheme. Default: none."`
	ProxyHeader    string `name:"proxy-header" placeholder:"NAME" fallback:"x-forwarded" help:"Header of those proxies: x-forwarded (X-Forwarded-For and -Proto) or forwarded (RFC 7239). The other one is ignored. Default x-forwarded."`
	TLSCert        string `name:"tls-cert" placeholder:"FILE" help:"Certificate chain (PEM) of the public listener. It is read again when it changes."`
	TLSKey         string `name:"tls-key" placeholder:"FILE" help:"Private key (PEM) of the certificate."`

	Data                string `name:"data" placeholder:"DIR" fallback:"./gatehouse-data" help:"Directory of the SQLite database and of development keys. Default ./gatehouse-data."`
	Database            string `name:"database" placeholder:"URL" secret:"yes" help:"Postgres database to use instead of SQLite: postgres://…"`
	MigrateDatabase     string `name:"migrate-database" placeholder:"URL" secret:"yes" help:"Postgres database for migrations, as the role that owns the tables. Default: --database, each of whose connections then takes the serving role."`
	DatabaseConnections string `name:"database-connections" placeholder:"N" fallback:"20" help:"Maximum Postgres connections. Default 20."`

	Keys string `name:"keys" placeholder:"RING" secret:"yes" help:"Key ring that seals secrets at rest: lines of id:base64 of 32 bytes, the current key first. Default: a development key in --data."`

	SMTPURL  string `name:"smtp-url" placeholder:"URL" secret:"yes" help:"Mail server: smtp://user:password@host:587 or smtps://…:465. Default: mail is printed to the log."`
	MailFrom string `name:"mail-from" placeholder:"ADDRESS" fallback:"Gatehouse <gatehouse@localhost>" help:"Sender of mail."`

	AdminEmail        string `name:"admin-email" placeholder:"EMAIL" help:"First owner of the platform tenant, created at the first start."`
	AdminPassword     string `name:"admin-password" placeholder:"PASSWORD" secret:"yes" help:"Password of the first owner."`
	AdminClientID     string `name:"admin-client-id" placeholder:"ID" help:"First machine application of the platform tenant, created at the first start with the role owner."`
	AdminClientSecret string `name:"admin-client-secret" placeholder:"SECRET" secret:"yes" help:"Secret of that application, at least 32 random characters."`

	LogLevel    string `name:"log-level" placeholder:"LEVEL" fallback:"info" help:"Least severe level to log: debug, info, warn or error. Default info."`
	LogFormat   string `name:"log-format" placeholder:"FORMAT" fallback:"text" help:"Format of the log: text or json. Default text."`
	Development string `name:"development" placeholder:"yes" help:"Permit development keys and plain HTTP under a public URL that other machines can reach. Never in production."`
}

// Config is the parsed and checked configuration.
type Config struct {
	Listen, OpsListen   string
	GRPCListen          string
	PublicURL           *url.URL // scheme and host only
	TrustedProxies      []netip.Prefix
	Forwarded           bool // the proxies send Forwarded, not X-Forwarded-For and -Proto
	TLSCert, TLSKey     string
	Data                string
	Database            secret.String // DSN of Postgres, or ""
	MigrateDatabase     secret.String
	DatabaseConnections int
	Keys                secret.String // or "": use a development key
	SMTP                *url.URL      // or nil: print mail to the log
	MailFrom            string
	AdminEmail          string
	AdminPassword       secret.String
	AdminClientID       string
	AdminClientSecret   secret.String
	LogLevel            slog.Level
	LogFormat           string
	Development         bool
}

// SQLite returns the path of the SQLite file, which serves when Database is empty.
func (c *Config) SQLite() string { return filepath.Join(c.Data, "gatehouse.db") }

// DSN returns the name of the database for kit/db.
func (c *Config) DSN() string {
	if c.Database != "" {
		return c.Database.Reveal()
	}
	return c.SQLite()
}

// Local reports whether the public URL names this machine itself, so that no other machine
// reaches it. Only then are development keys and plain HTTP a default.
func (c *Config) Local() bool { return loopback(c.PublicURL.Hostname()) }

// Error lists every fault of a configuration, one line each.
type Error []string

// Error implements error.
func (e Error) Error() string {
	head := "a fault"
	if len(e) > 1 {
		head = fmt.Sprintf("%d faults", len(e))
	}
	return fmt.Sprintf("%s in the configuration:\n  %s", head, strings.Join(e, "\n  "))
}

// setting is one field of Flags.
type setting struct {
	name, env, fallback string
	secret              bool
	value               string
	from                string // source of the value, for faults
}

// Load reads the configuration from flags, environ (KEY=value) and the YAML file that either
// names. It fails with an Error that lists every fault.
func Load(flags Flags, environ []string) (*Config, error) {
	l := &loader{settings: settings(flags)}
	l.environment(environ)
	l.file()
	for i := range l.settings {
		if s := &l.settings[i]; s.value == "" {
			s.value, s.from = s.fallback, "the default"
		}
	}
	c := l.parse()
	if len(l.faults) > 0 {
		return nil, Error(l.faults)
	}
	return c, nil
}

func settings(flags Flags) []setting {
	v := reflect.ValueOf(flags)
	out := make([]setting, v.NumField())
	for i := range out {
		tag := v.Type().Field(i).Tag
		s := setting{
			name: tag.Get("name"), fallback: tag.Get("fallback"), secret: tag.Get("secret") != "",
			value: v.Field(i).String(),
		}
		s.env = "GATEHOUSE_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
		if s.value != "" {
			s.from = "--" + s.name
		}
		out[i] = s
	}
	return out
}

type loader struct {
	settings []setting
	faults   []string
}

func (l *loader) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

func (l *loader) get(name string) *setting {
	for i := range l.settings {
		if l.settings[i].name == name {
			return &l.settings[i]
		}
	}
	panic("config: no setting " + name)
}

// notSettings matches GATEHOUSE_ variables that are not settings of a server. Tests read some of
// them, and commands that call a server read others. Kubernetes gives every pod the addresses of
// each service whose name begins with gatehouse.
var notSettings = regexp.MustCompile(`^GATEHOUSE_(TEST_.*|TESTKIT_.*` +
	`|(URL|TOKEN|CLIENT_ID|CLIENT_SECRET)(_FILE)?` +
	`|(.+_)?SERVICE_(HOST|PORT)(_.+)?|(.+_)?PORT(_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)$`)

func (l *loader) environment(environ []string) {
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(key, "GATEHOUSE_") || notSettings.MatchString(key) {
			continue
		}
		name, isFile := strings.CutSuffix(key, "_FILE")
		i := slices.IndexFunc(l.settings, func(s setting) bool {
			return s.env == key || isFile && s.secret && s.env == name
		})
		if i < 0 {
			l.fault("%s is not a setting%s", key, l.suggest(key))
			continue
		}
		s := &l.settings[i]
		if s.env != key { // the _FILE variant
			if slices.ContainsFunc(environ, func(other string) bool {
				return strings.HasPrefix(other, s.env+"=") && len(other) > len(s.env)+1
			}) {
				l.fault("%s and %s are both set; keep one", s.env, key)
				continue
			}
			b, err := os.ReadFile(value)
			if err != nil {
				l.fault("%s: %v", key, reason(err))
				continue
			}
			value = strings.TrimRight(string(b), "\r\n")
		}
		if s.value == "" && value != "" {
			s.value, s.from = value, key
		}
	}
}

func (l *loader) file() {
	f := l.get("config")
	if f.value == "" {
		return
	}
	b, err := os.ReadFile(f.value)
	if err != nil {
		l.fault("%s: %v", f.from, reason(err))
		return
	}
	var doc map[string]any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		l.fault("%s: %s", f.value, yaml.FormatError(err, false, false))
		return
	}
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for k := range doc {
			if !yield(k) {
				return
			}
		}
	}) {
		i := slices.IndexFunc(l.settings, func(s setting) bool { return s.name == key && key != "config" })
		if i < 0 {
			l.fault("%s: %q is not a setting%s", f.value, key, l.suggest(key))
			continue
		}
		var value string
		switch v := doc[key].(type) {
		case string:
			value = v
		case bool:
			value = map[bool]string{true: "yes", false: "no"}[v]
		case []any:
			var parts []string
			for _, p := range v {
				parts = append(parts, fmt.Sprint(p))
			}
			value = strings.Join(parts, ",")
		case map[string]any:
			l.fault("%s: %q must be text", f.value, key)
			continue
		case nil:
		default:
			value = fmt.Sprint(v)
		}
		if s := &l.settings[i]; s.value == "" && value != "" {
			s.value, s.from = value, f.value
		}
	}
}

// suggest returns the end of a fault: the setting that an unknown name most likely means.
func (l *loader) suggest(unknown string) string {
	plain := func(s string) string {
		s = strings.TrimPrefix(strings.ToLower(s), "gatehouse_")
		return strings.ReplaceAll(strings.ReplaceAll(strings.TrimSuffix(s, "_file"), "-", ""), "_", "")
	}
	best, bestD := "", 4
	for _, s := range l.settings {
		if d := distance(plain(unknown), plain(s.name)); d < bestD {
			best, bestD = s.name, d
			if strings.HasPrefix(unknown, "GATEHOUSE_") {
				best = s.env
			}
		}
	}
	if best == "" {
		return "; see gatehouse serve --help"
	}
	return "; did you mean " + best + "?"
}

// distance returns the edit distance of two short names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			prev, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, prev+cost)
		}
	}
	return row[len(b)]
}

// reason shortens a file error to the path and the cause.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s cannot be read: %w", pe.Path, pe.Err)
	}
	return err
}
