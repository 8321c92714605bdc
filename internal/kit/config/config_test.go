package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDefaultsRunOnALaptop(t *testing.T) {
	c, err := Load(Flags{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8080" || c.PublicURL.String() != "http://127.0.0.1:8080" ||
		c.DSN() != filepath.Join("gatehouse-data", "gatehouse.db") || c.DatabaseConnections != 20 {
		t.Errorf("%+v", c)
	}
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	file, pw := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "pw")
	write(t, file, "listen: 127.0.0.1:1\nops-listen: 127.0.0.1:2\ndata: /file\ndatabase-connections: 7\n"+
		"trusted-proxies: [10.0.0.0/8, \"::ffff:192.0.2.1\"]\n")
	write(t, pw, "correct horse battery staple\n")
	c, err := Load(Flags{Config: file, Listen: "127.0.0.1:9"}, []string{
		"GATEHOUSE_LISTEN=127.0.0.1:8", "GATEHOUSE_OPS_LISTEN=127.0.0.1:7", "PATH=/bin",
		"GATEHOUSE_ADMIN_EMAIL=ada@example.com", "GATEHOUSE_ADMIN_PASSWORD_FILE=" + pw, "GATEHOUSE_TEST_POSTGRES=x",
		"GATEHOUSE_PROXY_HEADER=forwarded",
		// what Kubernetes makes of a service named gatehouse
		"GATEHOUSE_PORT=tcp://10.0.0.1:8080", "GATEHOUSE_PORT_8080_TCP_ADDR=10.0.0.1", "GATEHOUSE_SERVICE_HOST=10.0.0.1", "GATEHOUSE_SERVICE_PORT_HTTP=80", "GATEHOUSE_DB_SERVICE_PORT=5432"})
	if err != nil {
		t.Fatal(err)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}
	if c.Listen != "127.0.0.1:9" || c.OpsListen != "127.0.0.1:7" || c.Data != "/file" || c.DatabaseConnections != 7 ||
		!slices.Equal(c.TrustedProxies, proxies) || !c.Forwarded {
		t.Errorf("%+v", c)
	}
	if c.AdminPassword.Reveal() != "correct horse battery staple" {
		t.Error("the password's file was not read, or with its newline")
	}
}

// One error names every fault and shows no secret.
func TestAllFaultsAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, "listn: 1\nlog-format: xml\n")
	_, err := Load(Flags{
		Config: file, Listen: "nowhere", PublicURL: "ftp://x", TLSCert: "/does/not/exist", TrustedProxies: "10.0.0.0/8,me,fe80::1%eth0",
		LogLevel: "loud", Development: "perhaps",
	}, []string{
		"GATEHOUSE_DATABSE=x", "GATEHOUSE_DATABASE=mysql://u:hunter2@h/d", "GATEHOUSE_ADMIN_EMAIL=ada",
		"GATEHOUSE_ADMIN_CLIENT_ID=x", "GATEHOUSE_ADMIN_CLIENT_SECRET=hunter2", "GATEHOUSE_KEYS=hunter2",
		"GATEHOUSE_SMTP_URL=hunter2", "GATEHOUSE_DATABASE_CONNECTIONS=0",
		"GATEHOUSE_MAIL_FROM=nobody", "GATEHOUSE_KEYS_FILE=/x",
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`"listn" is not a setting; did you mean listen?`,
		"GATEHOUSE_DATABSE is not a setting; did you mean GATEHOUSE_DATABASE?",
		"listen (--listen) must be HOST:PORT", "public-url (--public-url)",
		"tls-cert (--tls-cert): /does/not/exist cannot be read", "tls-cert and tls-key belong together",
		`"me" is neither an address`, `"fe80::1%eth0" is neither`,
		"log-level (--log-level)", "log-format", "development (--development)",
		"database (GATEHOUSE_DATABASE) must be postgres://",
		"admin-email and admin-password belong together", "admin-email (GATEHOUSE_ADMIN_EMAIL) must be an email",
		"admin-client-secret (GATEHOUSE_ADMIN_CLIENT_SECRET) has 7 characters",
		"keys (GATEHOUSE_KEYS)", "smtp-url (GATEHOUSE_SMTP_URL)", "database-connections", "mail-from",
		"GATEHOUSE_KEYS and GATEHOUSE_KEYS_FILE are both set",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("a secret is shown")
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestProductionRefusesDevelopmentDefaults(t *testing.T) {
	_, err := Load(Flags{PublicURL: "http://id.example.com"}, nil)
	if err == nil || !strings.Contains(err.Error(), "plain HTTP") || !strings.Contains(err.Error(), "keys is not set") {
		t.Errorf("err = %v", err)
	}
	if _, err := Load(Flags{PublicURL: "http://id.example.com", Development: "yes"}, nil); err != nil {
		t.Errorf("told so explicitly: %v", err)
	}
	if _, err := Load(Flags{PublicURL: "http://localhost:8080"}, nil); err != nil {
		t.Errorf("this machine: %v", err)
	}
}

func TestHTTPSNeedsTLSHereOrAtAProxy(t *testing.T) {
	cert := filepath.Join(t.TempDir(), "x.pem")
	write(t, cert, "x")
	const ring = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for name, c := range map[string]struct {
		flags Flags
		ok    bool
	}{
		"https and nothing that speaks it": {Flags{PublicURL: "https://id.example.com", Keys: ring}, false},
		"the same on this machine":         {Flags{PublicURL: "https://localhost"}, false},
		"https behind a proxy":             {Flags{PublicURL: "https://id.example.com", Keys: ring, TrustedProxies: "10.0.0.1"}, true},
		"https of our own":                 {Flags{PublicURL: "https://id.example.com", Keys: ring, TLSCert: cert, TLSKey: cert}, true},
		"a certificate for nothing":        {Flags{PublicURL: "http://localhost", TLSCert: cert, TLSKey: cert}, false},
	} {
		if _, err := Load(c.flags, nil); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
