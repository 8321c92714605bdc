package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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
	c, err := Load(Flags{Config: file, Listen: "127.0.0.1:9", OutboundAllow: "10.1.0.0/16, 192.168.1.1"}, []string{
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
		!slices.Equal(c.TrustedProxies, proxies) || !c.Forwarded ||
		!slices.Equal(c.OutboundAllow, []netip.Prefix{
			netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("192.168.1.1/32")}) {
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
	}, Rule{Setting: "admin-email", Check: func(*Config) string { return "as another package says" }},
		Rule{Setting: "admin-password", Check: func(*Config) string { return "not asked without a value" }})
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
		"admin-email and admin-password belong together",
		"admin-email (GATEHOUSE_ADMIN_EMAIL): as another package says",
		"keys (GATEHOUSE_KEYS)", "smtp-url (GATEHOUSE_SMTP_URL)", "database-connections", "mail-from",
		"GATEHOUSE_KEYS and GATEHOUSE_KEYS_FILE are both set",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(err.Error(), "not asked") {
		t.Error("a rule is asked about a setting without a value")
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("a secret is shown")
	}
	if t.Failed() {
		t.Log(err)
	}
}

const ring = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// What is safe on a laptop only is refused as soon as other machines reach the server: by its
// public URL or by a listener.
func TestProductionRefusesDevelopmentDefaults(t *testing.T) {
	const plain, key = "plain HTTP", "keys is not set"
	proxied := Flags{PublicURL: "https://id.example.com", TrustedProxies: "10.0.0.1", Keys: ring}
	with := func(change func(f *Flags)) Flags {
		f := proxied
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		flags Flags
		want  []string // none: it is accepted
	}{
		"a public URL":              {Flags{PublicURL: "http://id.example.com"}, []string{plain, key}},
		"the same, told so":         {Flags{PublicURL: "http://id.example.com", Development: "yes"}, nil},
		"this machine":              {Flags{PublicURL: "http://localhost:8080"}, nil},
		"all interfaces":            {Flags{Listen: "0.0.0.0:8080"}, []string{"listen (--listen) 0", key}},
		"all interfaces, v6":        {Flags{Listen: "[::]:8080"}, []string{"listen (--listen) [", key}},
		"any host":                  {Flags{Listen: ":8080"}, []string{"listen (--listen) :", key}},
		"one interface":             {Flags{Listen: "192.0.2.1:8080"}, []string{plain, key}},
		"a local URL does not hide": {Flags{Listen: ":8080", PublicURL: "http://localhost:8080"}, []string{"listen (--listen) :", key}},
		"gRPC on all interfaces":    {Flags{GRPCListen: ":8082"}, []string{"grpc-listen (--grpc-listen) :", key}},
		"all interfaces, told so":   {Flags{Listen: "0.0.0.0:8080", Development: "yes"}, nil},
		"production without mail":   {proxied, nil},
		"production, no mail":       {with(func(f *Flags) { f.SMTPURL = "none" }), nil},
		"production with mail":      {with(func(f *Flags) { f.SMTPURL = "smtps://u:p@mail.example" }), nil},
	} {
		_, err := Load(c.flags, nil)
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range c.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v lacks %q", name, err, want)
			}
		}
	}
}

// The public URL has the form in which browsers send it.
func TestPublicURLIsCanonical(t *testing.T) {
	for given, want := range map[string]string{
		"https://ID.Example.com/":     "https://id.example.com",
		"https://id.example.com:443":  "https://id.example.com",
		"https://id.example.com:8443": "https://id.example.com:8443",
		"https://bücher.example":      "https://xn--bcher-kva.example",
		"https://BÜCHER.example:443/": "https://xn--bcher-kva.example",
		"https://[2001:DB8::1]:443":   "https://[2001:db8::1]",
		"https://[2001:db8::1]:8443":  "https://[2001:db8::1]:8443",
		"http://localhost:80":         "http://localhost",
		"http://127.0.0.1:443":        "http://127.0.0.1:443",
		"https://id.example.com:0":    "", "https://id.example.com:70000": "", "https://id.example.com?": "",
		"https://id.example.com/x": "", "https://a b.example": "", "https://": "", "https://-x.example": "",
		"https://u@id.example.com": "", "https://id.example.com#x": "", "https://[fe80::1%25eth0]": "",
	} {
		c, err := Load(Flags{PublicURL: given, TrustedProxies: "10.0.0.1", Development: "yes"}, nil)
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "public-url (--public-url)")):
			t.Errorf("%s: %v, want a fault", given, err)
		case want != "" && (err != nil || c.PublicURL.String() != want):
			t.Errorf("%s: %v (%v), want %s", given, c, err, want)
		}
	}
}

// Few mail servers take an address that is not ASCII.
func TestASenderIsASCII(t *testing.T) {
	for typed, want := range map[string]string{
		"Gatehouse <gatehouse@localhost>": "Gatehouse <gatehouse@localhost>",
		"Gäste <g@bücher.example>":        "=?utf-8?q?G=C3=A4ste?= <g@xn--bcher-kva.example>",
		"gäste@bücher.example":            "",
	} {
		c, err := Load(Flags{}, []string{"GATEHOUSE_MAIL_FROM=" + typed})
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "mail-from") {
				t.Errorf("%s: %v", typed, err)
			}
		} else if err != nil || c.MailFrom != want {
			t.Errorf("%s: %q, %v", typed, c.MailFrom, err)
		}
	}
}

// A value is the same from each source: a byte order mark and line ends are not part of it.
func TestValuesAreTheSameFromEachSource(t *testing.T) {
	dir := t.TempDir()
	file, pw := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "pw")
	write(t, file, "\ufeffdata: /srv/x\r\nlog-format: json \r\nkeys: |\r\n  "+ring+"\r\n")
	write(t, pw, "\ufefforrect horse battery staple\r\n")
	c, err := Load(Flags{Config: file, Listen: " 127.0.0.1:9 "}, []string{
		"GATEHOUSE_ADMIN_EMAIL=ada@example.com\n", "GATEHOUSE_ADMIN_PASSWORD_FILE=" + pw,
		"GATEHOUSE_ADMIN_CLIENT_ID= op ", "GATEHOUSE_ADMIN_CLIENT_SECRET=" + strings.Repeat("s", 40) + "\r\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != "/srv/x" || c.LogFormat != "json" || c.Listen != "127.0.0.1:9" || c.AdminEmail != "ada@example.com" ||
		c.AdminClientID != "op" || c.AdminClientSecret.Reveal() != strings.Repeat("s", 40) ||
		c.AdminPassword.Reveal() != "orrect horse battery staple" {
		t.Errorf("%+v", c)
	}
	empty, utf16 := filepath.Join(dir, "empty"), filepath.Join(dir, "utf16")
	write(t, empty, "\ufeff\n")
	write(t, utf16, "\xff\xfes\x00e\x00")
	for want, environ := range map[string]string{
		"GATEHOUSE_KEYS_FILE: " + empty + " is empty":                       "GATEHOUSE_KEYS_FILE=" + empty,
		"GATEHOUSE_DATABASE_FILE: " + utf16 + " is not UTF-8 text":          "GATEHOUSE_DATABASE_FILE=" + utf16,
		"admin-password (GATEHOUSE_ADMIN_PASSWORD) begins or ends with a b": "GATEHOUSE_ADMIN_PASSWORD=hunter2 ",
		"admin-client-secret (GATEHOUSE_ADMIN_CLIENT_SECRET) has a line br": "GATEHOUSE_ADMIN_CLIENT_SECRET=hunter2\nx",
		"smtp-url (GATEHOUSE_SMTP_URL) must be":                             "GATEHOUSE_SMTP_URL=smtp://u:hunter2#@h",
		"smtp-url (GATEHOUSE_SMTP_URL) must be smtp":                        "GATEHOUSE_SMTP_URL=smtp://user#hunter2@h:587",
		"smtp-url (GATEHOUSE_SMTP_URL): tls in":                             "GATEHOUSE_SMTP_URL=smtp://h?tls=maybe",
		"smtp-url (GATEHOUSE_SMTP_URL): the server's port":                  "GATEHOUSE_SMTP_URL=smtp://h:70000",
		"database (GATEHOUSE_DATABASE) must be postgres://":                 "GATEHOUSE_DATABASE=postgres://u:hunter2#@h/d",
		"database (GATEHOUSE_DATABASE): sslmode is invalid":                 "GATEHOUSE_DATABASE=postgres://u:hunter2@h/d?sslmode=x",
	} {
		_, err := Load(Flags{}, []string{environ})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A YAML file is one document, and its secrets are text.
func TestYAML(t *testing.T) {
	for text, want := range map[string]string{
		"data: /a\n---\nkeys: x\n":             "a second document follows",
		"admin-password: 1234567890\n":         `"admin-password" must be text: write it in quotes`,
		"admin-password: true\n":               `"admin-password" must be text: write it in quotes`,
		"data: {a: b}\n":                       `"data" must be text`,
		"data: /a\ndata: /b\n":                 "already defined",
		"- data\n":                             "c.yaml",
		"":                                     "",
		"# nothing\n":                          "",
		"---\ndata: /a\n...\n":                 "",
		"database-connections: 7\n":            "",
		"trusted-proxies: []\ndevelopment: no": "",
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		write(t, file, text)
		_, err := Load(Flags{Config: file}, nil)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestHTTPSNeedsTLSHereOrAtAProxy(t *testing.T) {
	cert, broken := filepath.Join(t.TempDir(), "x.pem"), filepath.Join(t.TempDir(), "broken.pem")
	write(t, cert, keyPair(t))
	write(t, broken, "x")
	for name, c := range map[string]struct {
		flags Flags
		ok    bool
	}{
		"https and nothing that speaks it": {Flags{PublicURL: "https://id.example.com", Keys: ring}, false},
		"the same on this machine":         {Flags{PublicURL: "https://localhost"}, false},
		"https behind a proxy":             {Flags{PublicURL: "https://id.example.com", Keys: ring, TrustedProxies: "10.0.0.1", SMTPURL: "none"}, true},
		"https of our own":                 {Flags{PublicURL: "https://id.example.com", Keys: ring, TLSCert: cert, TLSKey: cert, SMTPURL: "none"}, true},
		"a certificate of nothing":         {Flags{PublicURL: "https://localhost", TLSCert: broken, TLSKey: broken}, false},
		"a certificate for nothing":        {Flags{PublicURL: "http://localhost", TLSCert: cert, TLSKey: cert}, false},
	} {
		if _, err := Load(c.flags, nil); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// keyPair returns a certificate and its key, in PEM.
func keyPair(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
