package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

type widget struct {
	ID    id.ID     `json:"id" format:"uuid"`
	Name  string    `json:"name"`
	Made  time.Time `json:"made"`
	Limit int       `json:"limit"`
}

type newWidget struct {
	Body struct {
		Name  string   `json:"name" minLength:"1" maxLength:"10"`
		Kind  string   `json:"kind,omitempty" enum:"web,spa"`
		URIs  []string `json:"uris,omitempty" maxItems:"2"`
		Count int      `json:"count,omitempty" minimum:"1"`
		Deep  *struct {
			On bool `json:"on"`
		} `json:"deep,omitempty"`
	}
}

type listWidgets struct {
	api.Page
	Outcome string    `query:"outcome" enum:"success,refused"`
	Maker   id.ID     `query:"maker"`
	From    time.Time `query:"from"`
	Least   float64   `query:"least"`
	Broken  bool      `query:"broken"`
}

type everything struct{}

func (everything) Allows(string) bool { return true }

// open lets everybody in who says a word, and denies one action.
type open struct{ c caller.Caller }

func (g open) Admit(r *http.Request, op api.Op) (api.Request, error) {
	switch {
	case r.Header.Get("Authorization") == "":
		return api.Request{}, fault.New(fault.Unauthenticated, "token.missing", "Send an access token.")
	case op.Action == "widget.delete":
		return api.Request{}, fault.New(fault.Denied, "action.denied", "You are not allowed to do widget.delete.")
	}
	return api.Request{Caller: g.c, Rights: everything{}, Reads: true}, nil
}

func fixture(t *testing.T) (http.Handler, []byte) {
	t.Helper()
	mux := http.NewServeMux()
	m := &api.Mount{Mux: mux, Prefix: "/api/v1", Title: "Widgets", Gate: open{},
		Answer: func(_ context.Context, f *fault.Fault) (int, http.Header) {
			switch f.Kind {
			case fault.Unauthenticated:
				return 401, http.Header{"Www-Authenticate": {"Bearer"}}
			case fault.Denied:
				return 403, nil
			case fault.Invalid:
				return 400, nil
			case fault.Conflict:
				return 409, nil
			}
			return 500, nil
		}}
	call := func(op api.Op) api.Operation {
		return api.Call(op, func(_ context.Context, _ *db.DB, _ api.Request, in *newWidget) (widget, error) {
			switch in.Body.Name {
			case "taken":
				return widget{}, fault.InvalidField("widget.taken", "name", "This name is taken.")
			case "broken":
				return widget{}, http.ErrBodyNotAllowed
			}
			return widget{ID: id.New(), Name: in.Body.Name}, nil
		})
	}
	doc := m.Operations([]api.Operation{
		call(api.Op{Method: "POST", Path: "/widgets", ID: "create-widget", Action: "widget.create", Tag: "Widgets",
			Summary: "Create a widget", Status: 201}),
		api.Call(api.Op{Method: "GET", Path: "/widgets/{id}", ID: "get-widget", Action: "widget.read", Tag: "Widgets",
			Summary: "Get a widget"},
			func(_ context.Context, _ *db.DB, _ api.Request, in *api.ByID) (widget, error) {
				return widget{ID: in.ID}, nil
			}),
		api.Call(api.Op{Method: "DELETE", Path: "/widgets/{id}", ID: "delete-widget", Action: "widget.delete",
			Tag: "Widgets", Summary: "Delete a widget"},
			func(context.Context, *db.DB, api.Request, *api.ByID) (api.None, error) { return api.None{}, nil }),
		api.Call(api.Op{Method: "PUT", Path: "/widgets/{id}", ID: "put-widget", Action: "widget.update", Tag: "Widgets",
			Summary: "Put a widget"},
			func(context.Context, *db.DB, api.Request, *api.ByID) (api.None, error) { return api.None{}, nil }),
		api.Call(api.Op{Method: "GET", Path: "/widgets", ID: "list-widgets", Action: "widget.read", Tag: "Widgets",
			Summary: "List widgets"},
			func(_ context.Context, _ *db.DB, _ api.Request, in *listWidgets) (page.List[widget], error) {
				r, err := in.Page.Request()
				return page.List[widget]{Items: []widget{{ID: r.After, Limit: r.Limit}}}, err
			}),
	})
	return mux, doc()
}

type putPicture struct {
	Path    string `path:"path"`
	RawBody []byte `contentType:"application/octet-stream"`
}

// Bodies and answers of bytes instead of JSON, at paths that contain slashes.
func TestBytesInAndOut(t *testing.T) {
	mux := http.NewServeMux()
	m := &api.Mount{Mux: mux, Prefix: "/api/v1", Title: "Pictures", Gate: open{},
		Answer: func(_ context.Context, f *fault.Fault) (int, http.Header) { return 422, nil }}
	kept := map[string][]byte{}
	doc := m.Operations([]api.Operation{
		api.Call(api.Op{Method: "PUT", Path: "/pictures/{path...}", ID: "put-picture", Action: "picture.update",
			Tag: "Pictures", Summary: "Put a picture", Body: 8, Versioned: true},
			func(_ context.Context, _ *db.DB, _ api.Request, in *putPicture) (api.None, error) {
				if len(in.RawBody) == 1 {
					wrong := fault.InvalidField("picture.invalid", in.Path, "This is no picture.")
					wrong.Fields[0].File, wrong.Fields[0].Line = true, 3
					return api.None{}, wrong
				}
				kept[in.Path] = bytes.Clone(in.RawBody)
				return api.None{}, nil
			}),
		api.Call(api.Op{Method: "GET", Path: "/pictures/{path...}", ID: "get-picture", Action: "picture.read",
			Tag: "Pictures", Summary: "Get a picture", Produces: []string{"image/png"}},
			func(_ context.Context, _ *db.DB, _ api.Request, in *struct {
				Path string `path:"path"`
			}) (api.File, error) {
				return api.File{ContentType: "image/png", Name: "a.png", ETag: "7", Content: kept[in.Path]}, nil
			}),
	})
	if !strings.Contains(string(doc()), `"/pictures/{path}"`) || strings.Contains(string(doc()), "...") {
		t.Errorf("the description names paths as the mux does: %s", doc())
	}
	body := "\x00\xff\x0012345"
	for _, ct := range []string{"application/octet-stream", "application/x-www-form-urlencoded", ""} {
		if r, p := do(t, mux, "PUT", "/api/v1/pictures/a/b.png", body, "Content-Type", ct); r.StatusCode != 204 {
			t.Errorf("PUT as %q: %d %+v", ct, r.StatusCode, p)
		}
	}
	if r, p := do(t, mux, "PUT", "/api/v1/pictures/a/b.png", body+"6"); r.StatusCode != 413 {
		t.Errorf("one byte more than the limit: %d %+v", r.StatusCode, p)
	}
	r, _ := do(t, mux, "GET", "/api/v1/pictures/a/b.png", "")
	got, _ := io.ReadAll(r.Body)
	if string(got) != body || r.Header.Get("Content-Type") != "image/png" || r.Header.Get("ETag") != `"7"` ||
		r.Header.Get("Content-Disposition") != "attachment; filename=a.png" {
		t.Errorf("GET: %q %v", got, r.Header)
	}
	_, p := do(t, mux, "PUT", "/api/v1/pictures/c.png", "x")
	want := []api.FieldError{
		{Name: "c.png", Reason: "This is no picture.", File: "c.png", Line: 3, Message: "This is no picture."}}
	if diff := cmp.Diff(want, p.Errors); diff != "" {
		t.Error(diff)
	}
}

func do(t *testing.T, h http.Handler, method, target, body string, header ...string) (*http.Response, api.Problem) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var p api.Problem
	if w.Code >= 400 {
		if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%s %s %s: Content-Type %q of %s", method, target, body, ct, w.Body)
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Errorf("%s %s: %v in %s", method, target, err, w.Body)
		}
		if p.Status != w.Code || p.Code == "" || !strings.HasSuffix(p.Detail, ".") {
			t.Errorf("%s %s %s: problem %s", method, target, body, w.Body)
		}
	}
	return w.Result(), p
}

func TestBadInputIsNamed(t *testing.T) {
	h, _ := fixture(t)
	for _, tc := range []struct {
		method, target, body string
		status               int
		code                 string
		fields               []string
	}{
		{"POST", "/widgets", `{"name":"a"}`, 201, "", nil},
		{"POST", "/widgets", ``, 400, "request.malformed", nil},
		{"POST", "/widgets", `{`, 400, "request.malformed", nil},
		{"POST", "/widgets", `[]`, 400, "request.invalid", nil},
		{"POST", "/widgets", `null`, 400, "request.invalid", nil},
		{"POST", "/widgets", `{"name":"a"} trailing`, 400, "request.malformed", nil},
		{"POST", "/widgets", "{\"name\":\"\xff\"}", 400, "request.malformed", nil},
		{"POST", "/widgets", `{"name":"a\u0000"}`, 400, "request.malformed", nil},
		{"POST", "/widgets", `{"name":"a\\u0000"}`, 201, "", nil},
		{"POST", "/widgets", `{}`, 400, "request.invalid", []string{"name"}},
		{"POST", "/widgets", `{"name":1}`, 400, "request.invalid", []string{"name"}},
		{"POST", "/widgets", `{"name":null}`, 400, "request.invalid", []string{"name"}},
		{"POST", "/widgets", `{"name":""}`, 400, "request.invalid", []string{"name"}},
		{"POST", "/widgets", `{"name":"12345678901"}`, 400, "request.invalid", []string{"name"}},
		{"POST", "/widgets", `{"name":"a","colour":"red"}`, 400, "request.invalid", []string{"colour"}},
		{"POST", "/widgets", `{"Name":"a"}`, 400, "request.invalid", []string{"name", "Name"}},
		{"POST", "/widgets", `{"name":"a","kind":"x"}`, 400, "request.invalid", []string{"kind"}},
		{"POST", "/widgets", `{"name":"a","uris":["a","b","c"]}`, 400, "request.invalid", []string{"uris"}},
		{"POST", "/widgets", `{"name":"a","uris":[1]}`, 400, "request.invalid", []string{"uris[0]"}},
		{"POST", "/widgets", `{"name":"a","count":0}`, 400, "request.invalid", []string{"count"}},
		{"POST", "/widgets", `{"name":"a","count":1e400}`, 400, "request.malformed", nil},
		{"POST", "/widgets", `{"name":"a","count":99999999999999999999}`, 400, "request.invalid", []string{"count"}},
		{"POST", "/widgets", `{"name":"a","deep":{}}`, 400, "request.invalid", []string{"deep.on"}},
		{"POST", "/widgets", strings.Repeat("[", 20000), 400, "request.malformed", nil},
		{"POST", "/widgets", `{"name":"` + strings.Repeat("a", 2<<20) + `"}`, 413, "request.too_large", nil},
		{"POST", "/widgets", `{"name":"taken"}`, 400, "widget.taken", []string{"name"}},
		{"POST", "/widgets", `{"name":"broken"}`, 500, "internal", nil},
		{"GET", "/widgets/nonsense", ``, 400, "request.invalid", []string{"id"}},
		{"GET", "/widgets/018f3a52-7c1e-7b7a-9d5e-0f6a1c2b3d4e", ``, 200, "", nil},
		{"DELETE", "/widgets/018f3a52-7c1e-7b7a-9d5e-0f6a1c2b3d4e", ``, 403, "action.denied", nil},
		{"PUT", "/widgets/018f3a52-7c1e-7b7a-9d5e-0f6a1c2b3d4e", ``, 204, "", nil},
		{"GET", "/widgets", ``, 200, "", nil},
		{"GET", "/widgets?limit=200&cursor=" + page.Cursor(id.New()), ``, 200, "", nil},
		{"GET", "/widgets?limit=0", ``, 400, "request.invalid", []string{"limit"}},
		{"GET", "/widgets?limit=201", ``, 400, "request.invalid", []string{"limit"}},
		{"GET", "/widgets?limit=x", ``, 400, "request.invalid", []string{"limit"}},
		{"GET", "/widgets?limit=1&limit=2", ``, 400, "request.invalid", []string{"limit"}},
		{"GET", "/widgets?cursor=", ``, 200, "", nil},
		{"GET", "/widgets?cursor=x", ``, 400, "request.invalid", []string{"cursor"}},
		{"GET", "/widgets?outcome=maybe", ``, 400, "request.invalid", []string{"outcome"}},
		{"GET", "/widgets?outcome=", ``, 400, "request.invalid", []string{"outcome"}},
		{"GET", "/widgets?maker=&limit=1", ``, 400, "request.invalid", []string{"maker"}},
		{"GET", "/widgets?from", ``, 400, "request.invalid", []string{"from"}},
		{"GET", "/widgets?maker=%zz", ``, 400, "request.malformed", nil},
		{"GET", "/widgets?limit=1;outcome=success", ``, 400, "request.malformed", nil},
		{"GET", "/widgets?page=1", ``, 400, "request.invalid", []string{"page"}},
	} {
		resp, p := do(t, h, tc.method, "/api/v1"+tc.target, tc.body)
		var fields []string
		for _, e := range p.Errors {
			fields = append(fields, e.Name)
			if !strings.HasSuffix(e.Reason, ".") || strings.Contains(e.Reason, "expected") {
				t.Errorf("%s %.80s: reason %q is no sentence of ours", tc.target, tc.body, e.Reason)
			}
		}
		if resp.StatusCode != tc.status || p.Code != tc.code {
			t.Errorf("%s %s %.80s: %d %+v, want %d %s", tc.method, tc.target, tc.body, resp.StatusCode, p, tc.status,
				tc.code)
		} else if d := cmp.Diff(tc.fields, fields); d != "" {
			t.Errorf("%s %s %.80s: fields %s", tc.method, tc.target, tc.body, d)
		}
	}
}

// A reason says what is accepted. It never has the words of Go or of a library.
func TestReasonsSayWhatIsAccepted(t *testing.T) {
	h, _ := fixture(t)
	const aTime, anID = "This must be a time such as 2026-01-31T12:00:00Z.",
		"This must be an id as we gave it: 36 characters such as 018f3a52-7c1e-7b7a-9d5e-0f6a1c2b3d4e."
	for target, want := range map[string]string{
		"/widgets?limit=x":           "This must be a whole number.",
		"/widgets?limit=1.5":         "This must be a whole number.",
		"/widgets?least=x":           "This must be a number.",
		"/widgets?broken=perhaps":    "This must be true or false.",
		"/widgets?from=2026-01-01":   aTime,
		"/widgets?from=yesterday":    aTime,
		"/widgets?maker=me":          anID,
		"/widgets/me":                anID,
		"/widgets?outcome=":          "Give this parameter a value, or leave it out.",
		"/widgets?limit=1&limit=2":   "This parameter may be given only once.",
		"/widgets?outcome=something": "This must be one of: success, refused.",
	} {
		_, p := do(t, h, "GET", "/api/v1"+target, "")
		if len(p.Errors) != 1 || p.Errors[0].Reason != want {
			t.Errorf("%s: %+v, want %q", target, p, want)
		}
	}
}

// Several wrong members are named in the same order every time.
func TestBadMembersAreSorted(t *testing.T) {
	h, _ := fixture(t)
	for range 10 {
		_, p := do(t, h, "POST", "/api/v1/widgets", `{"name":"a","e":1,"b":1,"d":1,"a":1,"c":1}`)
		var names string
		for _, e := range p.Errors {
			names += e.Name
		}
		if names != "abcde" || !strings.HasPrefix(p.Detail, "a: ") {
			t.Fatalf("%q: %s", names, p.Detail)
		}
	}
}

// A decoder allocates for each open level, so a deep body must be refused before it is decoded.
func TestADeepBodyCostsLittleMemory(t *testing.T) {
	h, _ := fixture(t)
	for _, level := range []string{`{"a":`, `[`} {
		body := strings.Repeat(level, 1_000_000/len(level))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		resp, p := do(t, h, "POST", "/api/v1/widgets", body)
		runtime.ReadMemStats(&after)
		if resp.StatusCode != 400 || !strings.Contains(p.Detail, "nested deeper than 100 levels") {
			t.Errorf("%s: %d %+v", level, resp.StatusCode, p)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
			t.Errorf("%s: a body of 1 MB allocated %d MiB", level, took>>20)
		}
	}
}

func TestContentType(t *testing.T) {
	h, _ := fixture(t)
	for ct, status := range map[string]int{
		"application/json; charset=utf-8":   201,
		"APPLICATION/JSON":                  201,
		"Application/Json; Charset=UTF-8":   201,
		"Application/Merge-Patch+JSON":      201,
		"":                                  201,
		"text/plain":                        415,
		"application/x-www-form-urlencoded": 415,
		"\xff;;":                            415,
	} {
		if resp, p := do(t, h, "POST", "/api/v1/widgets", `{"name":"a"}`, "Content-Type",
			ct); resp.StatusCode != status {
			t.Errorf("%q: %d %+v, want %d", ct, resp.StatusCode, p, status)
		}
	}
}

// deadlines records the deadline of reading that a handler sets on its connection.
type deadlines struct {
	*httptest.ResponseRecorder
	read time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = t; return nil }

// The server cancels a call when reading its connection fails, so that deadline bounds the call.
func TestACallLastsUntilTheServersLimit(t *testing.T) {
	h, _ := fixture(t)
	w, began := &deadlines{ResponseRecorder: httptest.NewRecorder()}, time.Now()
	r := httptest.NewRequest("POST", "/api/v1/widgets", strings.NewReader(`{"name":"a"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer x")
	h.ServeHTTP(w, r)
	if w.Code != http.StatusCreated || w.read.Sub(began) < web.DefaultTime {
		t.Errorf("status %d, the call is cancelled after %s", w.Code, w.read.Sub(began))
	}
}

func TestGateComesFirst(t *testing.T) {
	h, _ := fixture(t)
	resp, p := do(t, h, "POST", "/api/v1/widgets", `{`, "Authorization", "")
	if resp.StatusCode != 401 || p.Code != "token.missing" || resp.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("a body was read for nobody: %d %+v %s", resp.StatusCode, p, resp.Header)
	}
}

func TestDescription(t *testing.T) {
	_, doc := fixture(t)
	var d struct {
		OpenAPI string
		Paths   map[string]map[string]map[string]any
	}
	if err := json.Unmarshal(doc, &d); err != nil {
		t.Fatal(err)
	}
	op := d.Paths["/widgets"]["post"]
	if d.OpenAPI != "3.1.0" || op["operationId"] != "create-widget" || op["x-action"] != "widget.create" {
		t.Errorf("description: %s", doc)
	}
	if s := string(doc); !strings.Contains(s, "application/problem+json") || strings.Contains(s, "$schema") {
		t.Errorf("description: %s", doc)
	}
}

func FuzzBody(f *testing.F) {
	f.Add(`{"name":"a","kind":"web","uris":["x"],"deep":{"on":true}}`)
	f.Add("{\"name\":\"\\u0000\xff\"}")
	f.Add(`{"name":{"$schema":1}}`)
	f.Fuzz(func(t *testing.T, body string) {
		if strings.Contains(body, "broken") {
			return
		}
		h, _ := fixture(t)
		resp, p := do(t, h, "POST", "/api/v1/widgets", body)
		if resp.StatusCode >= 500 {
			t.Errorf("%q: %d %+v", body, resp.StatusCode, p)
		}
	})
}

// byHeader takes the tenant from a header.
type byHeader map[string]id.ID

func (g byHeader) Admit(r *http.Request, _ api.Op) (api.Request, error) {
	return api.Request{Caller: caller.Caller{Tenant: g[r.Header.Get("Tenant")]}, Rights: everything{}}, nil
}

// What costs much is refused to a tenant that has as much of it under way as it may, and to no
// other.
func TestATenantMayHaveSoManyAtOnce(t *testing.T) {
	mux := http.NewServeMux()
	m := &api.Mount{Mux: mux, Prefix: "/api/v1", Title: "Costs", Gate: byHeader{"acme": id.New(), "globex": id.New()},
		Answer: func(_ context.Context, f *fault.Fault) (int, http.Header) {
			if f.Kind == fault.Limited {
				return 429, nil
			}
			return 500, nil
		}}
	begun, end := make(chan bool), make(chan bool)
	m.Operations([]api.Operation{
		api.Call(api.Op{Method: "GET", Path: "/slow", ID: "slow", Action: "x.slow", Tag: "X", Summary: "Slow",
			AtOnce: 2},
			func(context.Context, *db.DB, api.Request, *struct{}) (api.None, error) {
				begun <- true
				<-end
				return api.None{}, nil
			}),
		api.Call(api.Op{Method: "GET", Path: "/costly", ID: "costly", Action: "x.costly", Tag: "X", Summary: "Costly",
			AtOnce: 2},
			func(context.Context, *db.DB, api.Request, *struct{}) (api.None, error) { return api.None{}, nil }),
		api.Call(api.Op{Method: "GET", Path: "/cheap", ID: "cheap", Action: "x.cheap", Tag: "X", Summary: "Cheap"},
			func(context.Context, *db.DB, api.Request, *struct{}) (api.None, error) { return api.None{}, nil }),
	})
	want := func(tenant, path string, status int, code string) {
		t.Helper()
		if r, p := do(t, mux, "GET", "/api/v1/"+path, "", "Tenant", tenant); r.StatusCode != status || p.Code != code {
			t.Errorf("%s /%s: %d %s, want %d %s", tenant, path, r.StatusCode, p.Code, status, code)
		}
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { want("acme", "slow", 204, "") })
		<-begun
	}
	want("acme", "cheap", 204, "")
	want("globex", "costly", 204, "")
	// Those that come too many wait for their turn, and few may wait.
	var waiting sync.WaitGroup
	var served, refused atomic.Int64
	for range 12 {
		waiting.Go(func() {
			r, _ := do(t, mux, "GET", "/api/v1/costly", "", "Tenant", "acme")
			switch r.StatusCode {
			case 204:
				served.Add(1)
			case 429:
				if refused.Add(1) == 4 {
					close(end)
				}
			}
		})
	}
	waiting.Wait()
	both.Wait()
	if served.Load() != 8 || refused.Load() != 4 {
		t.Errorf("%d waited and were served, %d were refused", served.Load(), refused.Load())
	}
	want("acme", "costly", 204, "")
}

type gateFunc func(*http.Request, api.Op) (api.Request, error)

func (g gateFunc) Admit(r *http.Request, op api.Op) (api.Request, error) { return g(r, op) }

// An operation never runs for a caller whose rights the gate did not say.
func TestNoOperationRunsWithoutRights(t *testing.T) {
	for name, tt := range map[string]struct {
		request api.Request
		status  int
	}{
		"no rights":    {api.Request{Caller: caller.Caller{Tenant: id.New()}, Filter: filter.All()}, 500},
		"empty rights": {api.Request{Rights: nothing{}}, 403},
		"rights":       {api.Request{Rights: everything{}}, 204},
	} {
		t.Run(name, func(t *testing.T) {
			mux, ran := http.NewServeMux(), false
			m := &api.Mount{Mux: mux, Prefix: "/api/v1", Title: "X",
				Gate: gateFunc(func(*http.Request, api.Op) (api.Request, error) { return tt.request, nil }),
				Answer: func(_ context.Context, f *fault.Fault) (int, http.Header) {
					if f.Kind == fault.Denied {
						return 403, nil
					}
					return 500, nil
				}}
			m.Operations([]api.Operation{
				api.Call(api.Op{Method: "GET", Path: "/x", ID: "x", Action: "x.do", Tag: "X", Summary: "X"},
					func(_ context.Context, _ *db.DB, req api.Request, _ *struct{}) (api.None, error) {
						ran = true
						return api.None{}, req.Require("x.more")
					})})
			if r, p := do(t, mux, "GET", "/api/v1/x", ""); r.StatusCode != tt.status {
				t.Errorf("%d %+v, want %d", r.StatusCode, p, tt.status)
			}
			if ran != (tt.request.Rights != nil) {
				t.Errorf("the operation ran: %v", ran)
			}
		})
	}
	if err := (api.Request{}).Require("x.do"); fault.Of(err) != fault.Denied {
		t.Errorf("the zero Request allows an action: %v", err)
	}
}

type nothing struct{}

func (nothing) Allows(string) bool { return false }
