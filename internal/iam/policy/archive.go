package policy

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Formats of an archive.
const (
	Zip   = "zip"
	TarGz = "tar.gz"
)

const (
	// maxArchive bounds an archive, in bytes: the largest directory, uncompressed, with headers.
	maxArchive = compiler.MaxTotal + 1<<20
	// maxEntries bounds the entries of an archive: files, directories, and entries that are
	// skipped.
	maxEntries = 4 * compiler.MaxFiles
	// maxTar bounds a decompressed tar.gz, in bytes: 3 blocks of headers for each entry.
	maxTar = compiler.MaxTotal + maxEntries*3*512
)

// archiveCode is the code of every refusal of an archive.
const archiveCode = "policy.archive"

func archiveFault(reason string, args ...any) error {
	return fault.New(fault.Invalid, archiveCode, reason, args...)
}

// entryFault refuses an archive because of one of its entries, which it names.
func entryFault(name, reason string, args ...any) error {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if len(name) > compiler.MaxPath {
		name = strings.ToValidUTF8(name[:compiler.MaxPath], "") + "…"
	}
	f := fault.InvalidField(archiveCode, name, reason, args...)
	f.Reason = fmt.Sprintf("%q: %s", name, f.Reason)
	f.Fields[0].File = true
	return f
}

// ReadArchive reads a directory of policies from a zip or a tar.gz. It skips directories, hidden
// files and the files that macOS adds.
//
// It refuses links, devices, paths that leave the directory, and paths that occur twice, also in
// another case. It enforces the limits of compiler.Files. The Invalid fault names the entry. It
// never holds more than the archive and MaxTotal bytes.
func ReadArchive(archive []byte) (compiler.Files, error) {
	u := unpacked{files: compiler.Files{}, seen: map[string]string{}}
	var err error
	switch {
	case bytes.HasPrefix(archive, []byte("PK\x03\x04")), bytes.HasPrefix(archive, []byte("PK\x05\x06")):
		err = u.zip(archive)
	case bytes.HasPrefix(archive, []byte("\x1f\x8b")):
		err = u.tarGz(archive)
	default:
		err = archiveFault("This is neither a zip nor a tar.gz. Pack the directory with `tar -czf policies.tar.gz " +
			"-C policies .` and send the file as the body, with curl --data-binary @policies.tar.gz.")
	}
	if err != nil {
		return nil, err
	}
	if err := u.files.Check(); err != nil {
		return nil, refused(err)
	}
	return u.files, nil
}

// unpacked is an archive that is being read into files.
type unpacked struct {
	files   compiler.Files
	seen    map[string]string // path in lower case → path
	total   int
	entries int
}

func (u *unpacked) zip(archive []byte) error {
	// The reader trusts the archive's number of entries, and allocates all of them before it reads
	// the first. Each entry has this signature.
	if bytes.Count(archive, []byte("PK\x01\x02")) > maxEntries {
		return errEntries
	}
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // we judge the paths
		return archiveFault("The zip is damaged or has been cut off. Pack it again.")
	}
	for _, f := range r.File {
		if err := u.entry(); err != nil {
			return err
		}
		if f.Flags&1 != 0 {
			return entryFault(f.Name, "This file is encrypted. Pack it without a password.")
		}
		mode := f.Mode()
		if mode.IsDir() || strings.HasSuffix(f.Name, "/") {
			if _, _, err := u.place(strings.TrimSuffix(f.Name, "/")); err != nil {
				return err
			}
			continue
		}
		if !mode.IsRegular() {
			return entryFault(f.Name, "This is a link or a device; only files and directories are accepted.")
		}
		content, err := f.Open()
		if errors.Is(err, zip.ErrAlgorithm) {
			return entryFault(f.Name, "This file is compressed in a way that we do not read. Pack it with deflate.")
		}
		if err != nil {
			return entryFault(f.Name, "This entry of the zip is damaged.")
		}
		if err := u.file(f.Name, content); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacked) tarGz(archive []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return archiveFault("The tar.gz is damaged or has been cut off. Pack it again.")
	}
	limited := &io.LimitedReader{R: z, N: maxTar}
	r := tar.NewReader(limited)
	for {
		h, err := r.Next()
		if err == io.EOF { // what follows the end of the tar is read too: the checksum stands after it
			if _, err := io.Copy(io.Discard, limited); err != nil {
				return archiveFault("The tar.gz is damaged or has been cut off. Pack it again.")
			}
			if limited.N <= 0 {
				return errUnpacked
			}
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			if limited.N <= 0 {
				return errUnpacked
			}
			return archiveFault("The tar.gz is damaged or has been cut off. Pack it again.")
		}
		if err := u.entry(); err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader: // git archive writes one
			continue
		case tar.TypeDir:
			if _, _, err := u.place(strings.TrimSuffix(h.Name, "/")); err != nil {
				return err
			}
			continue
		case tar.TypeReg:
		default:
			return entryFault(h.Name, "This is a link or a device; only files and directories are accepted.")
		}
		if err := u.file(h.Name, r); err != nil {
			if limited.N <= 0 {
				return errUnpacked
			}
			return err
		}
	}
}

var (
	errEntries = archiveFault("The archive has more than %d entries; a directory of policies may have %d files.",
		maxEntries, compiler.MaxFiles)
	errUnpacked = archiveFault("The archive grows to more than %d bytes when it is unpacked.", compiler.MaxTotal)
)

func (u *unpacked) entry() error {
	if u.entries++; u.entries > maxEntries {
		return errEntries
	}
	return nil
}

// place checks the name of an entry. It returns its path, and whether to skip the entry.
func (u *unpacked) place(name string) (string, bool, error) {
	p := name
	for strings.HasPrefix(p, "./") {
		p = strings.TrimLeft(p[2:], "/")
	}
	if p == "" || p == "." {
		return "", true, nil
	}
	hidden := false
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "" || part == "." || part == "..":
			return "", false, entryFault(name, "The path must be relative, without empty parts, . and .. in it.")
		case strings.HasPrefix(part, "."), part == "__MACOSX":
			hidden = true
		}
	}
	if why := compiler.CheckPath(p); why != "" && !hidden {
		return "", false, entryFault(name, "%s", why)
	}
	return p, hidden, nil
}

// file adds one file.
func (u *unpacked) file(name string, content io.Reader) error {
	p, skip, err := u.place(name)
	if err != nil || skip {
		return err
	}
	key := strings.ToLower(p)
	if other, twice := u.seen[key]; twice {
		if other == p {
			return entryFault(name, "The archive has this path twice.")
		}
		return entryFault(name, "The archive also has %q, which differs in upper and lower case only.", other)
	}
	u.seen[key] = p
	if len(u.files) >= compiler.MaxFiles {
		return archiveFault("The archive has more than %d files.", compiler.MaxFiles)
	}
	b, err := io.ReadAll(io.LimitReader(content, int64(min(compiler.MaxFile, compiler.MaxTotal-u.total))+1))
	switch {
	case len(b) > compiler.MaxFile:
		return entryFault(name, "The file has more than %d bytes.", compiler.MaxFile)
	case u.total+len(b) > compiler.MaxTotal:
		return errUnpacked
	case err != nil:
		return entryFault(name, "This entry of the archive is damaged or has been cut off.")
	}
	u.total += len(b)
	u.files[p] = b
	return nil
}

// packed is the time of all entries of our archives, so that equal files make equal archives.
var packed = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Pack packs files in the format Zip or TarGz. The same files always give the same bytes.
func Pack(f compiler.Files, form string) []byte {
	if form == Zip {
		return zipOf(f)
	}
	return tarGzOf(f)
}

// zipOf stores the files uncompressed, so that the bytes do not depend on a compressor's version.
func zipOf(f compiler.Files) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, p := range slices.Sorted(maps.Keys(f)) {
		h := &zip.FileHeader{Name: p, Method: zip.Store, Modified: packed}
		h.SetMode(0o644)
		e, err := w.CreateHeader(h)
		if err == nil {
			_, err = e.Write(f[p])
		}
		mustPack(err)
	}
	mustPack(w.Close())
	return out.Bytes()
}

func tarGzOf(f compiler.Files) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, p := range slices.Sorted(maps.Keys(f)) {
		mustPack(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: p, Size: int64(len(f[p])), Mode: 0o644,
			ModTime: packed}))
		_, err := w.Write(f[p])
		mustPack(err)
	}
	mustPack(w.Close())
	mustPack(z.Close())
	return out.Bytes()
}

// mustPack panics at an error that cannot happen: a write to memory, of paths that Check accepted.
func mustPack(err error) {
	if err != nil {
		panic(fmt.Sprintf("policy: pack files: %v", err))
	}
}
