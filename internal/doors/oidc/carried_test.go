package oidc_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// flows returns how many flows are stored.
func (w *scene) flows() int64 {
	w.T.Helper()
	n, err := db.Read(ctx, w.DB, w.c, func(tx *db.Tx) (int64, error) {
		return db.One(ctx, tx, func(r db.Row) (int64, error) {
			var n int64
			return n, r.Scan(&n)
		}, `SELECT count(*) FROM signin_flows WHERE tenant_id = $1`)
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return n
}

// noise returns text of n random bytes, which does not pack.
func noise(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Anonymous requests store nothing. A request that no cookie can hold is stored, within a limit.
func TestAnonymousRequestsStoreNothing(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		_, challenge := pkce()
		for range 30 {
			toSignIn(t, w.browser().Visit(c.authorizeURL(challenge)))
		}
		if n := w.flows(); n != 0 {
			t.Errorf("30 anonymous requests stored %d flows", n)
		}
		state := noise(2500)
		for i := range 25 {
			a := w.browser().Visit(c.authorizeURL(challenge, "state", state))
			sent := strings.Contains(a.Header.Get("Location"), "error=temporarily_unavailable")
			if a.Status != http.StatusSeeOther || sent != (i >= 20) {
				t.Errorf("large request %d: %d %.80s", i+1, a.Status, a.Header.Get("Location"))
			}
		}
		if n := w.flows(); n != 20 {
			t.Errorf("25 large requests stored %d flows, want 20", n)
		}
	})
}

// A flow that its browser carries, and that a page makes too large, counts against the same limit.
func TestFlowsThatGrowAreLimited(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		_, challenge := pkce()
		begin := func(size int) (*browser, string, bool) {
			b := w.browser()
			at, err := url.Parse(b.Visit(c.authorizeURL(challenge, "state", noise(size))).Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			flow := at.Query().Get("flow")
			return b, flow, b.Cookie(signin.CarriedCookie+"_"+flow) != ""
		}
		size := 1000
		for {
			if _, _, carried := begin(size); carried {
				break
			}
			if size -= 20; size < 0 {
				t.Fatal("no request is carried")
			}
			w.Clock.Advance(time.Minute) // for the limit
		}
		w.Clock.Advance(time.Hour)
		for i := range 25 {
			b, flow, carried := begin(size - 20)
			if !carried {
				t.Fatal("the request is not carried")
			}
			label := strings.NewReplacer("_", "a", "-", "b").Replace(noise(40))
			a := b.Post("/forgotten", url.Values{"flow": {flow}, "email": {label + "@" + label[1:] + ".example"}})
			if want := map[bool]int{true: 200, false: 429}[i < 20]; a.Status != want {
				t.Errorf("flow %d that grew: %d, want %d", i+1, a.Status, want)
			}
		}
		if n := w.flows(); n != 20 { // those of the first loop have expired
			t.Errorf("25 flows that grew left %d rows, want 20", n)
		}
	})
}
