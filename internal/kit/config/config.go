// Package config reads Gatehouse's configuration: flags, then GATEHOUSE_…
// environment variables (for secrets also GATEHOUSE_…_FILE), then a YAML file,
// then defaults. It is strict: an unknown name, a value that cannot be used and a
// combination that must not run are faults, and all of them are reported at once.
//
// It only reads and judges; it opens nothing but the files it is pointed at.
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

// Flags are the settings as text; embed them in a command of kong. An empty field
// was not given. The tags are the one list of settings there is: name is the flag
// and the YAML key, GATEHOUSE_NAME the variable; secret ones have a _FILE variant
// and are never shown.
type Flags struct {
	Config string `name:"config" placeholder:"FILE" help:"YAML file with any of these settings under the same names."`

	Listen         string `name:"listen" placeholder:"HOST:PORT" fallback:"127.0.0.1:8080" help:"Public listener. Default 127.0.0.1:8080."`
	OpsListen      string `name:"ops-listen" placeholder:"HOST:PORT" fallback:"127.0.0.1:8081" help:"Listener of /livez, /readyz and /metrics. Default 127.0.0.1:8081."`
	GRPCListen     string `name:"grpc-listen" placeholder:"HOST:PORT" fallback:"127.0.0.1:8082" help:"Listener of the decision API over gRPC, which speaks TLS when the public one does. Default 127.0.0.1:8082."`
	PublicURL      string `name:"public-url" placeholder:"URL" help:"Where people reach the public listener, without a path. Issuers begin with it. Default: the listener's address."`
	TrustedProxies string `name:"trusted-proxies" placeholder:"CIDR,…" help:"Proxies that are believed about client address and scheme. Default: none."`
	ProxyHeader    string `name:"proxy-header" placeholder:"NAME" fallback:"x-forwarded" help:"What those proxies write: x-forwarded (X-Forwarded-For and -Proto) or forwarded (RFC 7239). Default x-forwarded; the other is never read."`
	TLSCert        string `name:"tls-cert" placeholder:"FILE" help:"Certificate chain (PEM) of the public listener; read again when it changes."`
	TLSKey         string `name:"tls-key" placeholder:"FILE" help:"Private key (PEM) of the certificate."`

	Data                string `name:"data" placeholder:"DIR" fallback:"./gatehouse-data" help:"Directory of the SQLite database and of development keys. Default ./gatehouse-data."`
	Database            string `name:"database" placeholder:"URL" secret:"yes" help:"postgres://… to serve from Postgres instead of SQLite."`
	MigrateDatabase     string `name:"migrate-database" placeholder:"URL" secret:"yes" help:"postgres://… of the role that owns the tables. Default: --database, which then only migrates while serving takes the role gatehouse_app."`
	DatabaseConnections string `name:"database-connections" placeholder:"N" fallback:"20" help:"Most Postgres connections of this process. Default 20."`

	Keys string `name:"keys" placeholder:"RING" secret:"yes" help:"Key ring that seals secrets at rest: lines of id:base64 of 32 bytes, the first is current. Default: a development key in --data."`

	SMTPURL  string `name:"smtp-url" placeholder:"URL" secret:"yes" help:"smtp://user:password@host:587 or smtps://…:465. Default: mail is printed to the log."`
	MailFrom string `name:"mail-from" placeholder:"ADDRESS" fallback:"Gatehouse <gatehouse@localhost>" help:"Sender of mail."`

	AdminEmail        string `name:"admin-email" placeholder:"EMAIL" help:"First start: the first owner of the platform tenant."`
	AdminPassword     string `name:"admin-password" placeholder:"PASSWORD" secret:"yes" help:"First start: the first owner's password."`
	AdminClientID     string `name:"admin-client-id" placeholder:"ID" help:"First start: a machine application of the platform tenant with the role owner."`
	AdminClientSecret string `name:"admin-client-secret" placeholder:"SECRET" secret:"yes" help:"First start: its secret, 32 random characters or more."`

	LogLevel    string `name:"log-level" placeholder:"LEVEL" fallback:"info" help:"debug, info, warn or error. Default info."`
	LogFormat   string `name:"log-format" placeholder:"FORMAT" fallback:"text" help:"text or json. Default text."`
	Development string `name:"development" placeholder:"yes" help:"yes permits development keys and plain HTTP under a public URL that is not this machine's own. Never in production."`
}

// Config is the configuration, judged.
type Config struct {
	Listen, OpsListen   string
	GRPCListen          string
	PublicURL           *url.URL // scheme and host only
	TrustedProxies      []netip.Prefix
	Forwarded           bool // the proxies write Forwarded instead of X-Forwarded-For and -Proto
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

// SQLite is the path of the SQLite file, which is used when Database is empty.
func (c *Config) SQLite() string { return filepath.Join(c.Data, "gatehouse.db") }

// DSN is what kit/db opens.
func (c *Config) DSN() string {
	if c.Database != "" {
		return c.Database.Reveal()
	}
	return c.SQLite()
}

// Local reports whether the public URL names this machine itself, which nobody
// else can reach: only there are development keys and plain HTTP a default.
func (c *Config) Local() bool { return loopback(c.PublicURL.Hostname()) }

// Error is every fault of a configuration, one line each.
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
	from                string // where the value came from, for faults
}

// Load reads the configuration from flags, environ (KEY=value) and the YAML file
// that flags or environ name. A fault is an Error with all of them.
func Load(flags Flags, environ []string) (*Config, error) {
	l := &loader{settings: settings(flags)}
	l.environment(environ)
	l.file()
	for i := range l.settings {
		if s := &l.settings[i]; s.value == "" {
			s.value, s.from = s.fallback, "the default"
		}
	}
	c := l.judge()
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
		s := setting{name: tag.Get("name"), fallback: tag.Get("fallback"), secret: tag.Get("secret") != "", value: v.Field(i).String()}
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

// notSettings are GATEHOUSE_ variables that others read or make: tests, commands that speak
// to a server instead of being one, and Kubernetes, which gives every pod the addresses of each service whose name begins like ours.
var notSettings = regexp.MustCompile(`^GATEHOUSE_(TEST_.*|TESTKIT_.*|(URL|TOKEN|CLIENT_ID|CLIENT_SECRET)(_FILE)?|(.+_)?SERVICE_(HOST|PORT)(_.+)?|(.+_)?PORT(_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)$`)

func (l *loader) environment(environ []string) {
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(key, "GATEHOUSE_") || notSettings.MatchString(key) {
			continue
		}
		name, isFile := strings.CutSuffix(key, "_FILE")
		i := slices.IndexFunc(l.settings, func(s setting) bool { return s.env == key || isFile && s.secret && s.env == name })
		if i < 0 {
			l.fault("%s is not a setting%s", key, l.suggest(key))
			continue
		}
		s := &l.settings[i]
		if s.env != key { // the _FILE variant
			if slices.ContainsFunc(environ, func(o string) bool { return strings.HasPrefix(o, s.env+"=") && len(o) > len(s.env)+1 }) {
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

// suggest names the setting that an unknown name most likely means.
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

// distance is the edit distance of two short names.
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

// reason is a file error without what the reader knows.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s cannot be read: %w", pe.Path, pe.Err)
	}
	return err
}
