package application_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var measuring sync.Mutex

// A client_id is a part of the request's text, and the directory keeps it.
func TestTheDirectoryKeepsNoRequest(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		const requests, requestBytes = 16, 1 << 20
		c := d.Tenant(t, "acme")
		dir := application.NewDirectory(d.DB)
		var ids []string
		for i := range requests {
			a, _ := create(t, d, c, web(fmt.Sprint("app ", i)))
			ids = append(ids, a.ClientID)
		}
		measuring.Lock() // the other database's requests would count
		defer measuring.Unlock()
		before := heapBytes()
		for _, clientID := range ids {
			request := strings.Repeat("x", requestBytes) + clientID
			if _, err := dir.ByClientID(ctx, c, request[requestBytes:]); err != nil {
				t.Fatal(err)
			}
		}
		if grown := heapBytes() - before; grown > requests*requestBytes/2 {
			t.Errorf("%d applications hold %d MB", requests, grown>>20)
		}
		runtime.KeepAlive(dir)
	})
}

// heapBytes returns the bytes in use once all garbage is collected.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
