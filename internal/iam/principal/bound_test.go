package principal

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func TestCopiesAreBounded(t *testing.T) {
	r := New(nil, nil, clock.System{})
	first := key{id.New(), id.New()}
	for range 3 { // the same once more replaces what was there
		r.keep(first, &entry{size: 1 << 20})
	}
	if r.bytes != 1<<20 || r.entries.Len() != 1 {
		t.Errorf("%d bytes in %d copies, want one of a MiB", r.bytes, r.entries.Len())
	}
	for range 200 {
		r.keep(key{id.New(), id.New()}, &entry{size: 1 << 20})
	}
	if r.bytes != maxBytes || r.entries.Len() != maxBytes>>20 {
		t.Errorf("%d bytes in %d copies, want %d", r.bytes, r.entries.Len(), maxBytes)
	}
	if _, ok := r.kept(first); ok {
		t.Error("the copy not used for longest is still there")
	}
	for range maxEntries + 10 {
		r.keep(key{id.New(), id.New()}, &entry{size: 1})
	}
	if r.entries.Len() > maxEntries || r.bytes > maxBytes {
		t.Errorf("%d copies of %d bytes", r.entries.Len(), r.bytes)
	}
}
