package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// developmentKey returns the path of the key that seals secrets if no key ring is configured.
func developmentKey(cfg *config.Config) string { return filepath.Join(cfg.Data, "development.key") }

// openRing returns the key ring that seals secrets at rest. It fails if the ring does not open what
// is stored.
//
// The ring is the configured one or, without one, the development key of the data directory.
// Package config refuses a development key if other machines reach the server.
func openRing(ctx context.Context, cfg *config.Config, log *slog.Logger, d *db.DB,
	platform caller.Caller) (*secret.KeyRing, error) {
	if cfg.Keys == "" {
		if err := makeKey(ctx, developmentKey(cfg), d, platform); err != nil {
			return nil, fmt.Errorf("development key: %w", err)
		}
	}
	if err := refuse(log, keysFinding(ctx, cfg, d, platform)); err != nil {
		return nil, err
	}
	return readRing(cfg)
}

// readRing returns the configured ring or the development key. It fails with fs.ErrNotExist if
// neither exists.
func readRing(cfg *config.Config) (*secret.KeyRing, error) {
	if cfg.Keys != "" {
		return secret.ParseKeyRing(cfg.Keys)
	}
	b, err := os.ReadFile(developmentKey(cfg))
	if err != nil {
		return nil, err
	}
	return secret.ParseKeyRing(secret.String(b))
}

// keysFinding checks that the key ring opens the platform's signing keys. Each deployment has those
// from its first start or, with a development key, from its first request.
func keysFinding(ctx context.Context, cfg *config.Config, d *db.DB, platform caller.Caller) finding {
	path := developmentKey(cfg)
	f := finding{
		subject: "keys at rest", note: "the configured key ring opens what is stored",
		remedy: "give --keys the ring that sealed the database; older keys may follow the current one",
	}
	if cfg.Keys == "" {
		f.note = "the development key " + path + "; in production set --keys"
		f.remedy = "restore " + path + ", or give --keys the ring that sealed the database; " +
			"for a new deployment, use another database"
	}
	ring, err := readRing(cfg)
	if errors.Is(err, fs.ErrNotExist) {
		var used bool
		if used, err = sealed(ctx, d, platform); err == nil && !used {
			f.note = "none yet: serve creates a development key in " + path
			return f
		}
		f.err = cmp.Or(err, fmt.Errorf("there is no key in %s, and one has sealed secrets of the database", path))
		return f
	}
	if err == nil {
		err = signingkey.New(d, ring, clock.System{}, jose.Generate, tenant.Touch).Check(ctx, platform)
	}
	f.err = err
	return f
}

// sealed reports whether the platform has signing keys.
func sealed(ctx context.Context, d *db.DB, platform caller.Caller) (bool, error) {
	return db.Read(ctx, d, platform, func(tx *db.Tx) (bool, error) { return signingkey.Exist(ctx, tx) })
}

// seal creates the platform's signing keys. From then on each start can tell whether it has the
// right key ring; see keysFinding. It comes before anything else that the ring seals for good.
func (a *App) seal(ctx context.Context) error {
	if _, err := a.Keys.JWKS(ctx, system(a.Platform.ID, "first start")); err != nil {
		return fmt.Errorf("signing keys of the platform: %w", err)
	}
	return nil
}

// sealFirst returns h, which calls seal before its first request. A development key belongs to one
// data directory. If the start sealed with it, a database that was started once and never used
// would refuse the server of any other directory.
func (a *App) sealFirst(h http.Handler) http.Handler {
	var sealed atomic.Bool
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !sealed.Load() {
			if err := a.seal(r.Context()); err != nil { // the next request tries again
				a.Log.Error("development key", "error", err)
			} else {
				sealed.Store(true)
			}
		}
		h.ServeHTTP(w, r)
	})
}

// makeKey closes the development key to other users. It creates a missing key only if nothing is
// sealed yet, because a new one opens nothing.
func makeKey(ctx context.Context, path string, d *db.DB, platform caller.Caller) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, secret.ProtectFile(path))
	}
	used, err := sealed(ctx, d, platform)
	if err != nil || used {
		return err
	}
	return createKey(path)
}

// createKey writes a new key. If two processes start at the same time, one of them writes and both
// read the same key.
func createKey(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("the data directory cannot be created: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return fmt.Errorf("cannot be written: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, werr := tmp.WriteString(secret.NewKey("development").Reveal() + "\n")
	if err := errors.Join(werr, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("cannot be written: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot be written: %w", err)
	}
	return nil
}
