package secret

import (
	"errors"
	"io/fs"
	"os"
)

// others are the permissions of the group and of all other users of the machine.
const others fs.FileMode = 0o077

// FileExposed reports whether other users of the machine have permissions on a file. A missing file
// exposes nothing.
func FileExposed(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return info.Mode().Perm()&others != 0, nil
}

// ProtectFile removes the permissions of other users on a file, if it exists.
func ProtectFile(path string) error {
	exposed, err := FileExposed(path)
	if err == nil && exposed {
		err = os.Chmod(path, 0o600)
	}
	if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
		return nil
	}
	return err
}
