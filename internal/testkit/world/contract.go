package world

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// contract is what the description of the management API says about one operation: the media types
// of each status.
type contract struct {
	method   string
	segments []string // of the path; {name} for any
	answers  map[string][]string
}

// contracts are those of all operations. The first World of a test process reads them: every World
// has the same management API.
var contracts struct {
	read sync.Once
	all  []contract
}

// general are the statuses of refusals that any address may give. The description has them as
// default.
var general = []int{http.StatusRequestTimeout, http.StatusRequestURITooLong, http.StatusTooManyRequests,
	http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusRequestHeaderFieldsTooLarge}

// checkContract compares an answer of the management API with docs/openapi.json, which a test
// compares with the server's own description.
func (w *World) checkContract(r *http.Request, a Answer) {
	w.T.Helper()
	_, below, ok := strings.Cut(r.URL.EscapedPath(), "/api/v1/")
	if !ok || !strings.HasPrefix(r.URL.Path, "/t/") {
		return
	}
	contracts.read.Do(w.readContracts)
	segments := strings.Split(below, "/")
	for _, c := range contracts.all {
		if c.method != r.Method || !c.matches(segments) {
			continue
		}
		kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		if err != nil {
			kind = ""
		}
		kinds, described := c.answers[strconv.Itoa(a.Status)]
		if !described && slices.Contains(general, a.Status) {
			kinds, described = c.answers["default"]
		}
		switch {
		case !described:
			w.T.Errorf("%s /%s answers %d, which docs/openapi.json does not have: %.200s", c.method,
				strings.Join(c.segments, "/"), a.Status, a.Body)
		case len(kinds) == 0 && a.Body != "", len(kinds) > 0 && !slices.Contains(kinds, kind):
			w.T.Errorf("%s /%s answers %d as %q, docs/openapi.json has %q", c.method, strings.Join(c.segments, "/"),
				a.Status, kind, kinds)
		}
		return
	}
}

func (c contract) matches(segments []string) bool {
	for i, want := range c.segments {
		if want == "{path}" { // the rest
			return len(segments) > i
		}
		if i >= len(segments) || want != segments[i] && !strings.HasPrefix(want, "{") {
			return false
		}
	}
	return len(segments) == len(c.segments)
}

func (w *World) readContracts() {
	rec := httptest.NewRecorder()
	w.Handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, w.Base("platform")+"/api/v1/openapi.json", nil))
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]json.RawMessage `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
		w.T.Errorf("the description of the management API: %v", err)
	}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			c := contract{strings.ToUpper(method), strings.Split(strings.TrimPrefix(path, "/"), "/"),
				map[string][]string{}}
			for status, response := range op.Responses {
				kinds := []string{}
				for kind := range response.Content {
					kinds = append(kinds, kind)
				}
				c.answers[status] = kinds
			}
			contracts.all = append(contracts.all, c)
		}
	}
	// Of two that match, the one without a placeholder counts.
	slices.SortFunc(contracts.all, func(a, b contract) int {
		return strings.Compare(strings.Join(a.segments, "/"), strings.Join(b.segments, "/"))
	})
}
