package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Bounds of the garbage between two collections. Requests are short-lived garbage, and an idle
// server uses a few megabytes. A quarter of the collections saves about 5 % of the CPU. With the
// policies of thousands of tenants in memory the same share would be gigabytes.
const (
	fewCollections  = 400      // maximum, in percent of the live heap
	manyCollections = 100      // minimum, in percent of the live heap
	garbage         = 64 << 20 // bytes that are always allowed
)

// tuneCollector sets the collector's percentage after every collection, from the live heap. GOGC in
// the environment overrides it.
func tuneCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	now := 0
	tune := func() {
		metrics.Read(live)
		if next := gcPercent(live[0].Value.Uint64()); next != now {
			debug.SetGCPercent(next)
			now = next
		}
	}
	tune()
	// Every collection finds an object without references, and its finalizer sets itself again.
	type messenger struct{ _ *byte }
	var afterCollection func(*messenger)
	afterCollection = func(m *messenger) {
		tune()
		runtime.SetFinalizer(m, afterCollection)
	}
	runtime.SetFinalizer(&messenger{}, afterCollection)
}

// gcPercent returns the percentage for a live heap in bytes. Steps of ten keep it from changing
// with every collection.
func gcPercent(live uint64) int {
	percent := uint64(fewCollections)
	if live > 0 {
		percent = garbage * 100 / live
	}
	return int(max(manyCollections, min(fewCollections, percent/10*10)))
}
