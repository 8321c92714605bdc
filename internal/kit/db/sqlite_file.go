package db

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// sqliteFile returns the URI of a SQLite file.
func sqliteFile(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }

// SQLiteFiles returns the files that SQLite keeps for the database at path. Some of them may be
// missing.
func SQLiteFiles(path string) []string {
	return []string{path, path + "-wal", path + "-shm", path + "-journal"}
}

// makePrivate creates an empty database at path if it is missing, and closes its files to other
// users of the machine. They hold password hashes. SQLite gives the mode of the database to its
// other files.
func makePrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("the data directory cannot be created: %w", err)
	}
	// An existing file is not opened: closing it would end the locks of SQLite in this process.
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
		if err := f.Close(); err != nil {
			return fmt.Errorf("the database cannot be created: %w", err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the database cannot be created: %w", err)
	}
	for _, name := range SQLiteFiles(path) {
		if err := secret.ProtectFile(name); err != nil {
			return fmt.Errorf("other users of this machine can read the database: %w", err)
		}
	}
	return nil
}
