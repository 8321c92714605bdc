package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
)

// readPolicies reads a directory or an archive of one. It skips hidden files, as Cerbos does, and
// names those that look like policies.
func readPolicies(e *env, from string) (compiler.Files, error) {
	info, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s: name a directory, a zip or a tar.gz of policies, or leave it out for "+
			"the draft of the server at --url", from)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if info.Size() > 4*compiler.MaxTotal {
			return nil, fmt.Errorf("%s is larger than any archive of policies may be", from)
		}
		archive, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		return policy.ReadArchive(archive)
	}
	real, err := filepath.EvalSymlinks(from)
	if err != nil {
		return nil, err
	}
	r := policyReader{root: from, real: real, files: compiler.Files{}}
	if err := r.directory("", nil); err != nil {
		return nil, err
	}
	for _, name := range r.hidden {
		fmt.Fprintf(e.err, "%s: warning: This file looks like a policy and is not read: it is hidden.\n", name)
	}
	return r.files, r.files.Check()
}

// policyReader reads a directory of policies. It follows links that stay in it: a mounted ConfigMap
// consists of them. Others could send any file of this machine to the server.
type policyReader struct {
	root   string
	real   string // root without links
	files  compiler.Files
	hidden []string // files that are skipped and look like policies
}

// directory reads one directory below the root. above are the real paths of those around it.
func (r *policyReader) directory(name string, above []string) error {
	real, err := filepath.EvalSymlinks(filepath.Join(r.root, name))
	if err != nil {
		return err
	}
	if slices.Contains(above, real) {
		return fmt.Errorf("%s is a link to a directory around it", filepath.Join(r.root, name))
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		here := path.Join(name, entry.Name())
		at := filepath.Join(r.root, here)
		target, err := filepath.EvalSymlinks(at)
		if err != nil {
			return err
		}
		if inside, err := filepath.Rel(r.real, target); err != nil || !filepath.IsLocal(inside) {
			return fmt.Errorf("%s is a link out of the directory; only links within it are followed", at)
		}
		info, err := os.Stat(target)
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(entry.Name(), ".")
		switch {
		case info.IsDir() && hidden:
			continue
		case info.IsDir():
			if err := r.directory(here, append(above, real)); err != nil {
				return err
			}
			continue
		case !info.Mode().IsRegular() && !hidden:
			return fmt.Errorf("%s is a device; only files and directories are accepted", at)
		case !info.Mode().IsRegular(), hidden && info.Size() > compiler.MaxFile:
			continue
		case len(r.files) == compiler.MaxFiles:
			return fmt.Errorf("%s has more than %d files", r.root, compiler.MaxFiles)
		case info.Size() > compiler.MaxTotal:
			return fmt.Errorf("%s is larger than all policies together may be", at)
		}
		content, err := os.ReadFile(target)
		if err != nil {
			return err
		}
		if !hidden {
			r.files[here] = content
		} else if compiler.LooksLikePolicy(content) {
			r.hidden = append(r.hidden, at)
		}
	}
	return nil
}

// writePolicies writes files into a new or empty directory. Older files would otherwise stay beside
// them and count as policies.
func writePolicies(dir string, files compiler.Files) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if found, err := os.ReadDir(dir); err != nil {
		return err
	} else if len(found) > 0 {
		return fmt.Errorf("%s is not empty; export into a new directory", dir)
	}
	for name, content := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
