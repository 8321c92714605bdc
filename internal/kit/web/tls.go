package web

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// certificate serves a key pair from two files and loads a renewed pair without a restart. It
// checks the files when a client connects, at most once in recheck.
type certificate struct {
	certFile, keyFile string
	clock             clock.Clock
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	changed [2]time.Time // modification times of the files that pair was read from
	checked time.Time
}

const recheck = 5 * time.Second

func newCertificate(certFile, keyFile string, c clock.Clock, log *slog.Logger) (*certificate, error) {
	k := &certificate{certFile: certFile, keyFile: keyFile, clock: c, log: log}
	changed, err := k.stat()
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the TLS certificate and key: %w", err)
	}
	k.pair, k.changed, k.checked = &pair, changed, c.Now()
	return k, nil
}

func (k *certificate) stat() ([2]time.Time, error) {
	var changed [2]time.Time
	for i, name := range [...]string{k.certFile, k.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return changed, fmt.Errorf("read the TLS certificate and key: %w", err)
		}
		changed[i] = info.ModTime()
	}
	return changed, nil
}

// get implements tls.Config.GetCertificate. If the new files do not match or cannot be read, it
// serves the old pair and logs the reason.
func (k *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.Now()
	if now.Sub(k.checked) < recheck {
		return k.pair, nil
	}
	k.checked = now
	changed, err := k.stat()
	if err == nil && changed != k.changed {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(k.certFile, k.keyFile); err == nil {
			k.pair, k.changed = &pair, changed
			k.log.Info("TLS certificate reloaded", "file", k.certFile)
		}
	}
	if err != nil {
		k.log.Error("TLS certificate not reloaded; the one before stays in use", "error", err.Error())
	}
	return k.pair, nil
}
