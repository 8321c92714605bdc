package access_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// noSites knows no tenant.
type noSites struct{}

func (noSites) ByIssuer(context.Context, string) (web.Site, error) {
	return web.Site{}, tenant.ErrNotFound
}

func (noSites) Active(context.Context, id.ID) (web.Site, error) {
	return web.Site{}, tenant.ErrNotFound
}

// A stranger sends tokens without a signature, each with another issuer.
func TestIssuersOfStrangersStayWithinTheirBytes(t *testing.T) {
	const maxBytes = 10 << 20 // the bound and what the garbage collector leaves behind
	for length, tokens := range map[int]int{0: 60_000, 500: 40_000, 12_000: 4_000} {
		g := access.New(access.Deps{Sites: noSites{}})
		before := heapBytes()
		for i := range tokens {
			claims := fmt.Sprintf(`{"iss":"%s","n":%d}`, strings.Repeat("x", length), i)
			bearer := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
			if _, err := g.Home(t.Context(), bearer); err == nil {
				t.Fatal("an unknown issuer has a site")
			}
		}
		if grown := heapBytes() - before; grown > maxBytes {
			t.Errorf("%d issuers of %d bytes hold %d MB", tokens, length, grown>>20)
		}
		runtime.KeepAlive(g)
	}
}

// heapBytes returns the bytes in use once all garbage is collected.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
