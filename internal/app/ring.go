package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// ring returns the key ring that seals secrets at rest, and whether it is a development key.
//
// It is the configured ring or, without one, the development key of the data directory, which it
// creates if necessary. Package config refuses a development key where it must not be used.
func ring(cfg *config.Config) (*secret.KeyRing, bool, error) {
	if cfg.Keys != "" {
		ring, err := secret.ParseKeyRing(cfg.Keys)
		return ring, false, err
	}
	path := filepath.Join(cfg.Data, "development.key")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if b, err = createKey(path); err != nil {
			return nil, true, err
		}
	} else if err != nil {
		return nil, true, fmt.Errorf("the development key cannot be read: %w", err)
	}
	ring, err := secret.ParseKeyRing(secret.String(b))
	if err != nil {
		return nil, true, fmt.Errorf("%s: %w", path, err)
	}
	return ring, true, nil
}

// createKey writes a new key and returns the key of the file. If two processes start at the same
// time, one of them writes and both read the same key.
func createKey(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("the data directory cannot be created: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return nil, fmt.Errorf("the development key cannot be written: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, werr := tmp.WriteString(secret.NewKey("development").Reveal() + "\n")
	if err := errors.Join(werr, tmp.Sync(), tmp.Close()); err != nil {
		return nil, fmt.Errorf("the development key cannot be written: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("the development key cannot be written: %w", err)
	}
	return os.ReadFile(path)
}
