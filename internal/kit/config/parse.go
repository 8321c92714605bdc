package config

import (
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// minSecret is the minimum length of a client secret from outside, in characters. Gatehouse
// stores its plain SHA-256, which is safe only for a secret that cannot be guessed.
const minSecret = 32

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
	}
	if c.Listen != "" && c.Listen == c.OpsListen && !strings.HasSuffix(c.Listen, ":0") {
		l.fault("listen and ops-listen are the same address; health and metrics must not be public")
	}
	if c.GRPCListen != "" && (c.GRPCListen == c.Listen || c.GRPCListen == c.OpsListen) &&
		!strings.HasSuffix(c.GRPCListen, ":0") {
		l.fault("grpc-listen is the address of another listener; give it a port of its own")
	}
	c.PublicURL = l.publicURL(c)
	l.proxies(c)
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

// production refuses settings that are safe on a laptop only.
func (l *loader) production(c *Config) {
	if c.PublicURL == nil || c.Local() || c.Development {
		return
	}
	if c.PublicURL.Scheme != "https" {
		l.fault("public-url %s is plain HTTP, and other machines can reach it: give tls-cert and tls-key, "+
			"or put a proxy in front and an https:// public-url here. To try without, set development to yes", c.PublicURL)
	}
	if c.Keys == "" {
		l.fault("keys is not set: a development key must not protect %s. "+
			"Create a ring with `gatehouse keys new` and give it as GATEHOUSE_KEYS_FILE "+
			"(to try without, set development to yes)", c.PublicURL)
	}
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
	u, err := url.Parse(s.value)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || strings.Trim(u.Path, "/") == "" {
		// The message does not show the value, which holds a password.
		l.fault("%s (%s) must be postgres://USER:PASSWORD@HOST:PORT/DATABASE", name, s.from)
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
	u, err := url.Parse(strings.TrimSuffix(s.value, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		l.fault("public-url (%s) must be https://HOST or https://HOST:PORT, without a path, not %q", s.from, s.value)
		return nil
	}
	u.Host = strings.ToLower(u.Host)
	return u
}

func (l *loader) proxies(c *Config) {
	switch h := l.get("proxy-header"); h.value {
	case "x-forwarded":
	case "forwarded":
		c.Forwarded = true
	default:
		l.fault("proxy-header (%s) must be x-forwarded or forwarded, not %q", h.from, h.value)
	}
	s := l.get("trusted-proxies")
	for part := range strings.SplitSeq(s.value, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		p, err := web.ParseProxy(part)
		if err != nil {
			l.fault("trusted-proxies (%s): %v", s.from, err)
			continue
		}
		c.TrustedProxies = append(c.TrustedProxies, p)
	}
}

func (l *loader) mail(c *Config) {
	if s := l.get("smtp-url"); s.value != "" {
		u, err := url.Parse(s.value)
		if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" {
			l.fault("smtp-url (%s) must be smtp://USER:PASSWORD@HOST:587 or smtps://…:465", s.from)
		}
		c.SMTP = u
	}
	s := l.get("mail-from")
	if _, err := mail.ParseAddress(s.value); err != nil {
		l.fault(`mail-from (%s) must be an address such as "Gatehouse <gatehouse@example.com>", not %q`,
			s.from, s.value)
	}
	c.MailFrom = s.value
}

func (l *loader) admin(c *Config) {
	if (c.AdminEmail == "") != (c.AdminPassword == "") {
		l.fault("admin-email and admin-password belong together: set both or neither")
	}
	if (c.AdminClientID == "") != (c.AdminClientSecret == "") {
		l.fault("admin-client-id and admin-client-secret belong together: set both or neither")
	}
	if c.AdminEmail != "" {
		if _, err := mail.ParseAddress(c.AdminEmail); err != nil {
			l.fault("admin-email (%s) must be an email address", l.get("admin-email").from)
		}
	}
	if n := len(c.AdminClientSecret); n > 0 && n < minSecret {
		l.fault("admin-client-secret (%s) has %d characters; give %d random ones or more, for example from "+
			"`openssl rand -hex 32`", l.get("admin-client-secret").from, n, minSecret)
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
