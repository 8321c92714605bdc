package app

import "testing"

// Garbage is at most 64 MB or the live heap, whichever is more. It is never over four times the
// live heap.
func TestGarbageIsBounded(t *testing.T) {
	for _, live := range []uint64{0, 1 << 20, 8 << 20, 20 << 20, 64 << 20, 100 << 20, 1 << 30, 1 << 40} {
		percent := gcPercent(live)
		allowed := live * uint64(percent) / 100
		if percent < manyCollections || percent > fewCollections || allowed > max(garbage, live) {
			t.Errorf("%d bytes in use: GOGC %d, so %d bytes of garbage", live, percent, allowed)
		}
	}
	if few, many := gcPercent(8<<20), gcPercent(1<<30); few != fewCollections || many != manyCollections {
		t.Errorf("a small heap has GOGC %d, a large one %d", few, many)
	}
}
