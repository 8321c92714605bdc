package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Bounds of the garbage between two collections. Requests are short-lived garbage and the heap of an idle
// server is a few megabytes: collecting a quarter as often saves some 5 % of the CPU. With
// thousands of tenants' policies in memory the same share would be gigabytes.
const (
	fewCollections  = 400      // percent of what is in use, at most
	manyCollections = 100      // and at least
	garbage         = 64 << 20 // bytes that are allowed whatever the share
)

// tuneCollector sets GOGC after every collection by what is in use. A GOGC in the environment
// stays as it is.
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
	// An object that nobody holds is found by every collection, and comes back.
	type messenger struct{ _ *byte }
	var again func(*messenger)
	again = func(m *messenger) {
		tune()
		runtime.SetFinalizer(m, again)
	}
	runtime.SetFinalizer(&messenger{}, again)
}

// gcPercent is GOGC for so many bytes in use, in steps of ten, so that it does not move with every collection.
func gcPercent(live uint64) int {
	percent := uint64(fewCollections)
	if live > 0 {
		percent = garbage * 100 / live
	}
	return int(max(manyCollections, min(fewCollections, percent/10*10)))
}
