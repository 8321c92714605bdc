package oidc_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// slowServer answers GET requests when it is told to, and then with a text.
type slowServer struct {
	*httptest.Server
	begun, release chan bool
	once           sync.Once
}

func newSlowServer(t *testing.T, text string) *slowServer {
	t.Helper()
	s := &slowServer{begun: make(chan bool, 16), release: make(chan bool)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		s.begun <- true
		<-s.release
		_, _ = io.WriteString(rw, text)
	}))
	t.Cleanup(func() {
		s.answer()
		s.Close()
	})
	return s
}

// answer ends the calls that run.
func (s *slowServer) answer() { s.once.Do(func() { close(s.release) }) }

// Documents of sectors that are slow take no place of logout notices and key sets. A caller of the
// API reads one at a time, a tenant four, and the audit log has those that were refused.
func TestSlowDocumentsTakeNoPlaceOfNotices(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		slow, told := newSlowServer(t, "{}"), newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		_, s, _ := c.signInAt(t, w.user)
		key := newKey(t)
		machine := w.machineWithKeysAt(newKeyServer(t, key).URL)
		asked := map[string]any{"name": "Slow", "type": "web", "subject_type": "pairwise",
			"redirect_uris": []string{"https://a.example/cb", "https://b.example/cb"}, "sector_identifier_uri": slow.URL}
		var developers [5]string
		for i := range developers {
			developers[i] = w.Holder("acme", role.Developer)
		}
		create := func(token string, status int) {
			if got := w.Call(token, "POST", "acme", "/applications", asked); got.Status != status {
				t.Errorf("a document: %d %s, want %d", got.Status, got.Body, status)
			}
		}
		var calls sync.WaitGroup
		calls.Go(func() { create(developers[0], http.StatusBadRequest) })
		<-slow.begun
		create(developers[0], http.StatusTooManyRequests)
		for _, token := range developers[1:4] {
			calls.Go(func() { create(token, http.StatusBadRequest) })
			<-slow.begun
		}
		create(developers[4], http.StatusTooManyRequests)

		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "operator") })
		w.Work()
		if n := len(told.take()); n != 1 {
			t.Errorf("the application was notified %d times while documents are read", n)
		}
		mustTokens(t, machine.authenticate(t, key))
		slow.answer()
		calls.Wait()

		var callers []string
		for _, e := range w.events(audit.Filter{Action: "sector.refuse"}) {
			if e.Outcome != audit.Refused || !strings.Contains(string(e.Detail), slow.URL) || e.Target.Name != "Slow" {
				t.Errorf("event %+v", e)
			}
			callers = append(callers, e.Actor.ID.String())
		}
		slices.Sort(callers)
		if len(slices.Compact(callers)) != len(developers) {
			t.Errorf("%d of %d callers have an event", len(callers), len(developers))
		}
	})
}

// Key sets that are slow take no place of logout notices. A stranger can start their reading.
func TestSlowKeySetsTakeNoPlaceOfNotices(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		slow, told := newSlowServer(t, "{}"), newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		_, s, _ := c.signInAt(t, w.user)
		key := newKey(t)
		var calls sync.WaitGroup
		for range 4 {
			machine := w.machineWithKeysAt(slow.URL)
			calls.Go(func() { machine.authenticate(t, key) })
			<-slow.begun
		}
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "operator") })
		w.Work()
		if n := len(told.take()); n != 1 {
			t.Errorf("the application was notified %d times while key sets are read", n)
		}
		slow.answer()
		calls.Wait()
	})
}

// A change that is refused anyway calls no address.
func TestARefusedChangeReadsNoDocument(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			t.Error("a document was read")
			_, _ = io.WriteString(rw, `["`+redirectURI+`"]`)
		}))
		t.Cleanup(s.Close)
		developer := w.Holder("acme", role.Developer)
		trusted := w.client(application.New{Name: "Trusted", Type: application.Web, FirstParty: true})
		refused := func(status int, method, path string, body map[string]any) {
			t.Helper()
			body["sector_identifier_uri"], body["subject_type"] = s.URL, "pairwise"
			if got := w.Call(developer, method, "acme", path, body); got.Status != status {
				t.Errorf("%s %s: %d %s, want %d", method, path, got.Status, got.Body, status)
			}
		}
		refused(http.StatusBadRequest, "POST", "/applications", map[string]any{"name": " ", "type": "web",
			"redirect_uris": []string{redirectURI}})
		refused(http.StatusForbidden, "PATCH", "/applications/"+trusted.ID.String(), map[string]any{})
		own := w.client(application.New{Name: "Own", Type: application.Web})
		refused(http.StatusBadRequest, "PATCH", "/applications/"+own.ID.String(), map[string]any{"name": " "})
	})
}
