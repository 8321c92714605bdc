package web

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

func writePair(t *testing.T, dir, name string, at time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert},
		"key.pem": {Type: "PRIVATE KEY", Bytes: der}} {
		p := filepath.Join(dir, file)
		if err := os.WriteFile(p, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificateIsReloaded(t *testing.T) {
	dir, c := t.TempDir(), &clock.Fake{}
	old := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	writePair(t, dir, "one", old)
	k, err := newCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), c,
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	name := func() string {
		t.Helper()
		pair, err := k.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.Subject.CommonName
	}
	writePair(t, dir, "two", old.Add(time.Minute))
	if got := name(); got != "one" {
		t.Errorf("the files were looked at again at once: %s", got)
	}
	c.Advance(recheck)
	if got := name(); got != "two" {
		t.Errorf("the renewed certificate was not taken up: %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), bytes.Repeat([]byte("x"), 10), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Advance(recheck)
	if got := name(); got != "two" {
		t.Errorf("a broken key took the server down: %s", got)
	}
}
