// Package config reads Gatehouse's configuration: flags first, then GATEHOUSE_… environment
// variables, then a YAML file, then defaults. A secret may also come from a file, named by
// GATEHOUSE_…_FILE.
//
// It is strict. An unknown name, an unusable value and a combination that must not run are
// faults, and Load reports all of them at once. Rules of other packages about a setting join them.
//
// A value is the same from each source: a byte order mark and line ends are not part of it.
//
// The package opens only the files that the configuration names.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Flags are the settings as text. Embed them in a command of kong.
//
// An empty field was not given. The tags are the only list of settings. name is the flag and the
// YAML key, and GATEHOUSE_NAME is the variable. A setting with the tag secret has a _FILE variant
// too, and no message shows its value. A secret with the tag exact must not have blanks around it;
// they are removed from any other value.
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

	OutboundAllow string `name:"outbound-allow" placeholder:"CIDR,…" help:"Internal networks in which applications of tenants may be called, for their keys and sign-outs. Default: none, only public addresses."`

	Data                string `name:"data" placeholder:"DIR" fallback:"./gatehouse-data" help:"Directory of the SQLite database and of development keys. Default ./gatehouse-data."`
	Database            string `name:"database" placeholder:"URL" secret:"yes" help:"Postgres database to use instead of SQLite: postgres://…"`
	MigrateDatabase     string `name:"migrate-database" placeholder:"URL" secret:"yes" help:"Postgres database for migrations, as the role that owns the tables. Default: --database, each of whose connections then takes the serving role."`
	DatabaseConnections string `name:"database-connections" placeholder:"N" fallback:"20" help:"Maximum Postgres connections. Default 20."`

	Keys string `name:"keys" placeholder:"RING" secret:"yes" help:"Key ring that seals secrets at rest: lines of id:base64 of 32 bytes, the current key first. Default: a development key in --data."`

	SMTPURL  string `name:"smtp-url" placeholder:"URL" secret:"yes" help:"Mail server: smtp://user:password@host:587 or smtps://…:465. TLS is required, except from a server on this machine; ?tls=optional or ?tls=none changes that. none sends no mail. Default: a server for this machine prints mail to its log, and any other sends none."`
	MailFrom string `name:"mail-from" placeholder:"ADDRESS" fallback:"Gatehouse <gatehouse@localhost>" help:"Sender of mail."`

	AdminEmail        string `name:"admin-email" placeholder:"EMAIL" help:"First owner of the platform tenant, created at the first start."`
	AdminPassword     string `name:"admin-password" placeholder:"PASSWORD" secret:"exact" help:"Password of the first owner."`
	AdminClientID     string `name:"admin-client-id" placeholder:"ID" help:"First machine application of the platform tenant, created at the first start with the role owner."`
	AdminClientSecret string `name:"admin-client-secret" placeholder:"SECRET" secret:"exact" help:"Secret of that application, at least 32 random characters."`

	LogLevel    string `name:"log-level" placeholder:"LEVEL" fallback:"info" help:"Least severe level to log: debug, info, warn or error. Default info."`
	LogFormat   string `name:"log-format" placeholder:"FORMAT" fallback:"text" help:"Format of the log: text or json. Default text."`
	Development string `name:"development" placeholder:"yes" help:"Permit development keys, plain HTTP and mail in the log although other machines can reach the server. Never in production."`
}

// Config is the parsed and checked configuration.
type Config struct {
	Listen, OpsListen   string
	GRPCListen          string
	PublicURL           *url.URL // scheme and host only
	TrustedProxies      []netip.Prefix
	Forwarded           bool // the proxies send Forwarded, not X-Forwarded-For and -Proto
	TLSCert, TLSKey     string
	OutboundAllow       []netip.Prefix
	Data                string
	Database            secret.String // DSN of Postgres, or ""
	MigrateDatabase     secret.String
	DatabaseConnections int
	Keys                secret.String // or "": use a development key
	SMTP                *url.URL      // or nil
	NoMail              bool          // without SMTP: send nothing, instead of printing mail to the log
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

// Local reports whether no other machine reaches the server: the public URL names this machine, and
// the public listeners bind its loopback addresses. Only then are development keys, plain HTTP and
// mail in the log a default.
func (c *Config) Local() bool {
	return loopback(c.PublicURL.Hostname()) && !exposed(c.Listen) && !exposed(c.GRPCListen)
}

// exposed reports whether other machines can reach a listener at an address.
func exposed(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && !loopback(host)
}

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
	secret, exact       bool
	value               string
	from                string // source of the value, for faults
}

// Rule is a rule of another package about a setting. Check runs only if the setting has a value. It
// returns the reason why the value cannot be used, or "".
type Rule struct {
	Setting string
	Check   func(c *Config) string
}

// Load reads the configuration from flags, environ (KEY=value) and the YAML file that either
// names. It fails with an Error that lists every fault.
func Load(flags Flags, environ []string, rules ...Rule) (*Config, error) {
	l := &loader{settings: settings(flags)}
	l.flags(flags)
	l.environment(environ)
	l.file()
	for i := range l.settings {
		if s := &l.settings[i]; s.value == "" {
			s.value, s.from = s.fallback, "the default"
		}
	}
	c := l.parse()
	for _, r := range rules {
		s := l.get(r.Setting)
		if s.value == "" {
			continue
		}
		if reason := r.Check(c); reason != "" {
			l.fault("%s (%s): %s", s.name, s.from, reason)
		}
	}
	if len(l.faults) > 0 {
		return nil, Error(l.faults)
	}
	return c, nil
}

func settings(flags Flags) []setting {
	t := reflect.TypeOf(flags)
	out := make([]setting, t.NumField())
	for i := range out {
		tag := t.Field(i).Tag
		out[i] = setting{
			name: tag.Get("name"), fallback: tag.Get("fallback"),
			secret: tag.Get("secret") != "", exact: tag.Get("secret") == "exact",
		}
		out[i].env = "GATEHOUSE_" + strings.ToUpper(strings.ReplaceAll(out[i].name, "-", "_"))
	}
	return out
}

func (l *loader) flags(flags Flags) {
	v := reflect.ValueOf(flags)
	for i := range l.settings {
		l.give(&l.settings[i], v.Field(i).String(), "--"+l.settings[i].name)
	}
}

// give sets the value of a setting, unless an earlier source did.
func (l *loader) give(s *setting, value, from string) {
	if s.value != "" {
		return
	}
	value = trimLine(value)
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		l.fault("%s (%s) is not UTF-8 text", s.name, from)
		return
	}
	switch {
	case !s.exact:
		value = strings.TrimSpace(value)
	case strings.TrimSpace(value) != value:
		l.fault("%s (%s) begins or ends with a blank: remove it", s.name, from)
	case strings.ContainsFunc(value, unicode.IsControl):
		l.fault("%s (%s) has a line break or another control character: remove it", s.name, from)
	}
	if value != "" {
		s.value, s.from = value, from
	}
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
			text, err := ReadSecret(value)
			if err != nil {
				l.fault("%s: %v", key, err)
				continue
			}
			value = text.Reveal()
		}
		l.give(s, value, key)
	}
}
