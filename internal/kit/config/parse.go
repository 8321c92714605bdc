package config

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/idna"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// encoded says how a URL holds a password with the characters of URLs.
const encoded = "in the user name and password write # / ? @ : % as %23 %2F %3F %40 %3A %25"

// parse turns text into values. Every fault names the setting and the source of its value.
func (l *loader) parse() *Config {
	c := &Config{
		Listen: l.address("listen"), OpsListen: l.address("ops-listen"), GRPCListen: l.address("grpc-listen"),
		TLSCert: l.readable("tls-cert"), TLSKey: l.readable("tls-key"),
		Data:     l.get("data").value,
		Database: l.postgres("database"), MigrateDatabase: l.postgres("migrate-database"),
		Keys:       secret.String(l.get("keys").value),
		AdminEmail: l.get("admin-email").value, AdminPassword: secret.String(l.get("admin-password").value),
		AdminClientID:     l.get("admin-client-id").value,
		AdminClientSecret: secret.String(l.get("admin-client-secret").value),
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		l.fault("tls-cert and tls-key belong together: set both or neither")
	} else if c.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.fault("tls-cert and tls-key: %v", err)
		}
	}
	if c.Listen != "" && c.Listen == c.OpsListen && !strings.HasSuffix(c.Listen, ":0") {
		l.fault("listen and ops-listen are the same address; health and metrics must not be public")
	}
	if c.GRPCListen != "" && (c.GRPCListen == c.Listen || c.GRPCListen == c.OpsListen) &&
		!strings.HasSuffix(c.GRPCListen, ":0") {
		l.fault("grpc-listen is the address of another listener; give it a port of its own")
	}
	l.directory(c)
	c.PublicURL = l.publicURL(c)
	l.proxies(c)
	c.OutboundAllow = l.networks("outbound-allow")
	l.encryption(c)
	if c.MigrateDatabase != "" && c.Database == "" {
		l.fault("migrate-database is set and database is not: name the database to serve from")
	}
	n := l.get("database-connections")
	var err error
	c.DatabaseConnections, err = strconv.Atoi(n.value)
	if err != nil || c.DatabaseConnections < 2 || c.DatabaseConnections > 1000 {
		l.fault("database-connections (%s) must be a whole number from 2 to 1000", n.from)
	}
	if c.Keys != "" {
		if _, err := secret.ParseKeyRing(c.Keys); err != nil {
			l.fault("keys (%s): %v", l.get("keys").from, err)
		}
	}
	l.mail(c)
	l.admin(c)
	l.logging(c)
	switch d := l.get("development"); strings.ToLower(d.value) {
	case "", "no", "false", "0":
	case "yes", "true", "1":
		c.Development = true
	default:
		l.fault("development (%s) must be yes or no", d.from)
	}
	l.production(c)
	return c
}

// directory refuses a data directory that is, or is below, a file.
func (l *loader) directory(c *Config) {
	info, err := os.Stat(c.Data)
	if errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir() {
		s := l.get("data")
		l.fault("data (%s): %s is not a directory. Name one that exists, or one to create", s.from, c.Data)
	}
}

// encryption refuses a public URL whose scheme neither this process nor a proxy can serve. The
// server would refuse every request.
func (l *loader) encryption(c *Config) {
	switch {
	case c.PublicURL == nil:
	case c.PublicURL.Scheme == "https" && c.TLSCert == "" && l.get("trusted-proxies").value == "":
		l.fault("public-url %s is https, but nothing speaks TLS: "+
			"give tls-cert and tls-key, or name the proxy that ends TLS in trusted-proxies", c.PublicURL)
	case c.PublicURL.Scheme == "http" && c.TLSCert != "":
		l.fault("public-url %s is plain HTTP although tls-cert is set: begin it with https://", c.PublicURL)
	}
}

// production refuses settings that are safe only if no other machine reaches the server.
func (l *loader) production(c *Config) {
	if c.PublicURL == nil || c.Local() || c.Development {
		return
	}
	const try = ". To try without, set development to yes"
	switch {
	case c.PublicURL.Scheme == "https":
	case !loopback(c.PublicURL.Hostname()):
		l.fault("public-url %s is plain HTTP, and other machines can reach it: "+
			"give tls-cert and tls-key, or put a proxy in front and an https:// public-url here"+try, c.PublicURL)
	default:
		name := "listen"
		if !exposed(c.Listen) {
			name = "grpc-listen"
		}
		s := l.get(name)
		l.fault("%s (%s) %s lets other machines reach this server, but public-url is %s: set public-url to the "+
			"https:// address that they use, or listen on 127.0.0.1"+try, name, s.from, s.value, c.PublicURL)
	}
	if c.Keys == "" {
		l.fault("keys is not set: a development key must not protect a server that other machines reach. " +
			"Create a ring with `gatehouse keys new` and give it as GATEHOUSE_KEYS_FILE" + try)
	}
	// The links in mail set passwords, so a log that others read must not have them.
	c.NoMail = c.NoMail || c.SMTP == nil
}

func (l *loader) address(name string) string {
	s := l.get(name)
	host, port, err := net.SplitHostPort(s.value)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		l.fault("%s (%s) must be HOST:PORT such as 127.0.0.1:8080 or :8080, not %q", name, s.from, s.value)
		return ""
	}
	return net.JoinHostPort(host, port)
}

func (l *loader) readable(name string) string {
	s := l.get(name)
	if s.value == "" {
		return ""
	}
	f, err := os.Open(s.value)
	if err != nil {
		l.fault("%s (%s): %v", name, s.from, reason(err))
		return s.value
	}
	_ = f.Close()
	return s.value
}

func (l *loader) postgres(name string) secret.String {
	s := l.get(name)
	if s.value == "" {
		return ""
	}
	// No message shows the value, which holds a password.
	u, err := url.Parse(s.value)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || strings.Trim(u.Path, "/") == "" ||
		u.Fragment != "" {
		l.fault("%s (%s) must be postgres://USER:PASSWORD@HOST:PORT/DATABASE; %s", name, s.from, encoded)
	} else if err := db.CheckURL(s.value); err != nil {
		l.fault("%s (%s): %v", name, s.from, err)
	}
	return secret.String(s.value)
}

func (l *loader) publicURL(c *Config) *url.URL {
	s := l.get("public-url")
	if s.value == "" {
		if c.Listen == "" {
			return nil
		}
		host, port, _ := net.SplitHostPort(c.Listen)
		if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
			host = "localhost"
		}
		u := &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
		if c.TLSCert != "" {
			u.Scheme = "https"
		}
		return u
	}
	u, err := url.Parse(s.value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" || u.RawQuery != "" ||
		u.ForceQuery || u.Fragment != "" || u.User != nil {
		l.fault("public-url (%s) must be https://HOST or https://HOST:PORT, without a path, not %q", s.from, s.value)
		return nil
	}
	host, err := canonicalHost(u)
	if err != nil {
		l.fault("public-url (%s): %v in %q", s.from, err, s.value)
		return nil
	}
	return &url.URL{Scheme: u.Scheme, Host: host}
}

// defaultPorts are the ports that browsers leave out of the Host and Origin headers.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// canonicalHost returns the host and port of a URL as browsers send them: lower case, xn-- for
// other letters than ASCII, no default port.
func canonicalHost(u *url.URL) (string, error) {
	host, port := u.Hostname(), u.Port()
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return "", errors.New("the port must be from 1 to 65535")
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Zone() != "":
		return "", errors.New("an address with a zone is known on one machine only")
	case err == nil:
		host = ip.String()
	default:
		if host, err = idna.Lookup.ToASCII(strings.ToLower(host)); err != nil || host == "" {
			return "", errors.New("there is no valid host name")
		}
	}
	if port != "" && port != defaultPorts[u.Scheme] {
		return net.JoinHostPort(host, port), nil
	}
	if ip.Is6() {
		return "[" + host + "]", nil
	}
	return host, nil
}

func (l *loader) proxies(c *Config) {
	switch h := l.get("proxy-header"); h.value {
	case "x-forwarded":
	case "forwarded":
		c.Forwarded = true
	default:
		l.fault("proxy-header (%s) must be x-forwarded or forwarded, not %q", h.from, h.value)
	}
	c.TrustedProxies = l.networks("trusted-proxies")
}

// networks returns the networks and addresses of a setting.
func (l *loader) networks(name string) []netip.Prefix {
	s := l.get(name)
	var out []netip.Prefix
	for part := range strings.SplitSeq(s.value, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		p, err := web.ParseNetwork(part)
		if err != nil {
			l.fault("%s (%s): %v", name, s.from, err)
			continue
		}
		out = append(out, p)
	}
	return out
}

func (l *loader) mail(c *Config) {
	switch s := l.get("smtp-url"); s.value {
	case "":
	case "none":
		c.NoMail = true
	default:
		u, err := url.Parse(s.value)
		if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" ||
			u.Path != "" && u.Path != "/" || u.Fragment != "" {
			l.fault("smtp-url (%s) must be smtp://USER:PASSWORD@HOST:587 or smtps://…:465; %s", s.from, encoded)
		} else if _, err := mail.NewSMTP(u, "gatehouse@localhost", nil); err != nil {
			l.fault("smtp-url (%s): %v", s.from, err)
		} else {
			c.SMTP = u
		}
	}
	s := l.get("mail-from")
	if c.MailFrom = sender(s.value); c.MailFrom == "" {
		l.fault(`mail-from (%s) must be an address such as "Gatehouse <gatehouse@example.com>", not %q`,
			s.from, s.value)
	}
}

// sender returns a sender of mail with an ASCII address, as servers take it, or "".
func sender(s string) string {
	from, err := netmail.ParseAddress(s)
	if err != nil {
		return ""
	}
	address, ok := typed.Address(from.Address)
	if !ok {
		return ""
	}
	if from.Address == address {
		return s
	}
	return (&netmail.Address{Name: from.Name, Address: address}).String()
}

func (l *loader) admin(c *Config) {
	if (c.AdminEmail == "") != (c.AdminPassword == "") {
		l.fault("admin-email and admin-password belong together: set both or neither")
	}
	if (c.AdminClientID == "") != (c.AdminClientSecret == "") {
		l.fault("admin-client-id and admin-client-secret belong together: set both or neither")
	}
}

func (l *loader) logging(c *Config) {
	s := l.get("log-level")
	if err := c.LogLevel.UnmarshalText([]byte(s.value)); err != nil || strings.ContainsAny(s.value, "+-") {
		l.fault("log-level (%s) must be debug, info, warn or error, not %q", s.from, s.value)
		c.LogLevel = slog.LevelInfo
	}
	s = l.get("log-format")
	if c.LogFormat = s.value; s.value != "text" && s.value != "json" {
		l.fault("log-format (%s) must be text or json, not %q", s.from, s.value)
	}
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
