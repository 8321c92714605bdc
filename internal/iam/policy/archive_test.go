package policy

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// entryOf is an entry of an archive that a test packs.
type entryOf struct {
	name    string
	content string
	mode    os.FileMode // of the zip
	kind    byte        // of the tar; 0 for a file
	link    string
}

func packZip(t testing.TB, entries ...entryOf) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode != 0 {
			h.SetMode(e.mode)
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(f, e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func packTar(t testing.TB, entries ...entryOf) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Typeflag: e.kind, Name: e.name, Linkname: e.link, Size: int64(len(e.content)), Mode: 0o644}
		switch e.kind {
		case 0:
			h.Typeflag = tar.TypeReg
		case tar.TypeXGlobalHeader:
			h = &tar.Header{Typeflag: e.kind, Name: e.name, PAXRecords: map[string]string{"comment": "x"}}
		}
		err := w.WriteHeader(h)
		if err == nil && h.Size > 0 {
			_, err = io.WriteString(w, e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchivesAreReadAsTheirDirectory(t *testing.T) {
	want := compiler.Files{"album.yaml": []byte("a"), "_schemas/album.json": []byte("{}"), "deep/er/x.yaml": []byte("")}
	entries := []entryOf{
		{name: "./", mode: os.ModeDir | 0o755, kind: tar.TypeDir}, {name: "./album.yaml", content: "a"},
		{name: "_schemas/", mode: os.ModeDir | 0o755, kind: tar.TypeDir}, {name: "_schemas/album.json", content: "{}"},
		{name: "deep/er/x.yaml"}, {name: ".git/config", content: "secret"}, {name: "deep/.DS_Store",
			content: "\x00"}, {name: "__MACOSX/._album.yaml", content: "\x00"},
	}
	for form, archive := range map[string][]byte{
		"zip": packZip(t, entries...), "tar.gz": packTar(t, entries...),
		"git archive": packTar(t, append([]entryOf{{name: "pax_global_header", kind: tar.TypeXGlobalHeader}},
			entries...)...),
		"our zip": Pack(want, Zip), "our tar.gz": Pack(want, TarGz),
	} {
		got, err := ReadArchive(archive)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", form, err, diff)
		}
	}
	for _, form := range []string{Zip, TarGz} {
		if !bytes.Equal(Pack(want, form), Pack(compiler.Files{"deep/er/x.yaml": {},
			"_schemas/album.json": []byte("{}"), "album.yaml": []byte("a")}, form)) {
			t.Errorf("%s: the same files gave other bytes", form)
		}
	}
}

// What an archive tries is refused, and the entry is named.
func TestTricksOfArchivesAreRefused(t *testing.T) {
	long := strings.Repeat("d/", compiler.MaxPathDepth+1) + "x.yaml"
	for name, c := range map[string]struct {
		entries []entryOf
		named   string // the entry; "" for the archive as a whole
	}{
		"out of the directory": {[]entryOf{{name: "../x.yaml"}}, "../x.yaml"},
		"out, further in":      {[]entryOf{{name: "a/../../x.yaml"}}, "a/../../x.yaml"},
		"out, hidden":          {[]entryOf{{name: ".git/../../x.yaml"}}, ".git/../../x.yaml"},
		"out, as directory":    {[]entryOf{{name: "../", mode: os.ModeDir | 0o755, kind: tar.TypeDir}}, ".."},
		"absolute":             {[]entryOf{{name: "/etc/x.yaml"}}, "/etc/x.yaml"},
		"backslashes":          {[]entryOf{{name: `a\..\x.yaml`}}, `a\..\x.yaml`},
		"a drive":              {[]entryOf{{name: "C:x.yaml"}}, "C:x.yaml"},
		"an empty part":        {[]entryOf{{name: "a//x.yaml"}}, "a//x.yaml"},
		"control characters":   {[]entryOf{{name: "a\nx.yaml"}}, "a\nx.yaml"},
		"too deep":             {[]entryOf{{name: long}}, long},
		"too long": {[]entryOf{{name: strings.Repeat("x", compiler.MaxPath+1)}}, strings.Repeat("x",
			compiler.MaxPath) + "…"},
		"twice":           {[]entryOf{{name: "a.yaml"}, {name: "a.yaml"}}, "a.yaml"},
		"twice, by a dot": {[]entryOf{{name: "a.yaml"}, {name: "./a.yaml"}}, "./a.yaml"},
		"in another case": {[]entryOf{{name: "a.yaml"}, {name: "A.yaml"}}, "A.yaml"},
		"a link": {[]entryOf{{name: "a.yaml", content: "/etc/passwd", mode: os.ModeSymlink | 0o777}},
			"a.yaml"},
		"file and directory": {[]entryOf{{name: "a"}, {name: "a/b.yaml"}}, "a/b.yaml"},
		"too large": {[]entryOf{{name: "a.yaml", content: strings.Repeat("x", compiler.MaxFile+1)}},
			"a.yaml"},
		"no text": {[]entryOf{{name: "a.yaml", content: "\xff"}}, "a.yaml"},
	} {
		archives := map[string][]byte{"zip": packZip(t, c.entries...)}
		if name != "a link" && c.entries[0].mode == 0 {
			archives["tar.gz"] = packTar(t, c.entries...)
		}
		for form, archive := range archives {
			files, err := ReadArchive(archive)
			f := fault.As(err)
			if f.Kind != fault.Invalid || files != nil || len(f.Fields) != 1 || f.Fields[0].Name != c.named ||
				!strings.HasSuffix(f.Fields[0].Reason, ".") {
				t.Errorf("%s (%s): %v %+v", name, form, err, f.Fields)
			}
		}
	}
	for kind, name := range map[byte]string{tar.TypeSymlink: "symlink", tar.TypeLink: "hard link",
		tar.TypeChar: "device", tar.TypeFifo: "pipe"} {
		_, err := ReadArchive(packTar(t, entryOf{name: "a.yaml", kind: kind, link: "/etc/passwd"}))
		if fault.As(err).Code != archiveCode || !strings.Contains(err.Error(), "a.yaml") {
			t.Errorf("a %s: %v", name, err)
		}
	}
	whole := packZip(t, entryOf{name: "a.yaml", content: strings.Repeat("x", 100)})
	gz := packTar(t, entryOf{name: "a.yaml", content: strings.Repeat("xy", 10_000)})
	for name, archive := range map[string][]byte{
		"nothing": {}, "text": []byte("policies"), "half a zip": whole[:len(whole)/2], "half a " +
			"tar.gz": gz[:len(gz)/2], "no tar inside": func() []byte {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write([]byte(strings.Repeat("not a tar", 200)))
			_ = z.Close()
			return b.Bytes()
		}(),
		"a wrong checksum": bytes.Replace(Pack(compiler.Files{"a.yaml": []byte("aaaa")}, Zip), []byte("aaaa"),
			[]byte("aaab"), 1),
	} {
		if _, err := ReadArchive(archive); fault.As(err).Code != archiveCode {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := make([]entryOf, compiler.MaxFiles+1)
	for i := range many {
		many[i].name = fmt.Sprintf("%d.yaml", i)
	}
	hidden := make([]entryOf, maxEntries+1)
	for i := range hidden {
		hidden[i].name = fmt.Sprintf(".git/%d", i)
	}
	for name, entries := range map[string][]entryOf{"files": many, "hidden entries": hidden} {
		for form, archive := range map[string][]byte{"zip": packZip(t, entries...), "tar.gz": packTar(t, entries...)} {
			if _, err := ReadArchive(archive); fault.As(err).Code != archiveCode {
				t.Errorf("too many %s (%s): %v", name, form, err)
			}
		}
	}
}

// gzipped is a gzip file; one after another they are one, too (RFC 1952 §2.2).
func gzipped(content []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(content)
	_ = z.Close()
	return out.Bytes()
}

// tarHeader is what comes before the content of a file, which must be whole blocks of 512 bytes.
func tarHeader(t *testing.T, name string, size int64) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := tar.NewWriter(&out).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size,
		Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A small archive that would unpack to gigabytes is given up as soon as it is too large.
func TestBombsAreGivenUp(t *testing.T) {
	// What every entry holds is compressed once: the test would spend two minutes on packing.
	zeros := bytes.Repeat([]byte("\n"), compiler.MaxFile)
	var deflated, zipped, tarred, sparse bytes.Buffer
	f, _ := flate.NewWriter(&deflated, flate.DefaultCompression)
	_, _ = f.Write(zeros)
	_ = f.Close()
	z := zip.NewWriter(&zipped)
	packed := gzipped(zeros)
	for i := range 400 {
		name := fmt.Sprintf("%d.yaml", i)
		w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(zeros),
			CompressedSize64: uint64(deflated.Len()), UncompressedSize64: compiler.MaxFile})
		if err == nil {
			_, err = w.Write(deflated.Bytes())
		}
		if err != nil {
			t.Fatal(err)
		}
		tarred.Write(gzipped(tarHeader(t, name, compiler.MaxFile)))
		tarred.Write(packed)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	// One entry of 4 GB by its own word.
	sparse.Write(gzipped(tarHeader(t, "a.yaml", 4<<30)))
	for range 64 {
		sparse.Write(packed)
	}
	// A central directory of many entries, 46 bytes each, that the reader would allocate at once.
	const entries = 200_000
	directory := append([]byte("PK\x03\x04"), bytes.Repeat(append([]byte("PK\x01\x02"), make([]byte, 42)...),
		entries)...)
	end := append([]byte("PK\x05\x06"), make([]byte, 18)...)
	binary.LittleEndian.PutUint16(end[8:], entries%(1<<16))
	binary.LittleEndian.PutUint16(end[10:], entries%(1<<16))
	binary.LittleEndian.PutUint32(end[12:], 46*entries)
	binary.LittleEndian.PutUint32(end[16:], 4)
	directory = append(directory, end...)
	for name, archive := range map[string][]byte{"zip": zipped.Bytes(), "tar.gz": tarred.Bytes(),
		"one large file": sparse.Bytes(), "a directory of entries": directory} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ReadArchive(archive)
		runtime.ReadMemStats(&after)
		if fault.As(err).Code != archiveCode {
			t.Errorf("%s of %d bytes: %v", name, len(archive), err)
		}
		limit := uint64(64 << 20)
		if name == "a directory of entries" {
			limit = 1 << 20
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > limit {
			t.Errorf("%s: %d MB were allocated on the way", name, used>>20)
		}
	}
}

func FuzzReadArchive(f *testing.F) {
	files := compiler.Files{"a.yaml": []byte("a: 1\n"), "_schemas/b.json": []byte("{}")}
	f.Add(Pack(files, Zip))
	f.Add(Pack(files, TarGz))
	f.Add(packZip(f, entryOf{name: "../x.yaml"}, entryOf{name: "a/", mode: os.ModeDir}))
	f.Add(packTar(f, entryOf{name: "a.yaml", kind: tar.TypeSymlink, link: "/"}))
	f.Fuzz(func(t *testing.T, archive []byte) {
		got, err := ReadArchive(archive)
		if err != nil {
			if fault.Of(err) != fault.Invalid {
				t.Fatalf("%v", err)
			}
			return
		}
		if err := got.Check(); err != nil {
			t.Fatalf("accepted what Check refuses: %v", err)
		}
		for _, form := range []string{Zip, TarGz} {
			again, err := ReadArchive(Pack(got, form))
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Fatalf("%s: %v %s", form, err, diff)
			}
		}
	})
}
