package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Half a stream must not look like a whole one.
func TestAStreamThatFailsIsCutOff(t *testing.T) {
	mux := http.NewServeMux()
	m := &api.Mount{Mux: mux, Prefix: "/api/v1", Title: "Lines", Gate: open{},
		Answer: func(context.Context, *fault.Fault) (int, http.Header) { return 422, nil }}
	m.Operations([]api.Operation{
		api.Call(api.Op{Method: "GET", Path: "/lines", ID: "list-lines", Action: "line.read", Tag: "Lines",
			Summary: "List lines", Produces: []string{"text/plain"}},
			func(_ context.Context, _ *db.DB, _ api.Request, in *struct {
				Fail bool `query:"fail"`
			}) (api.Stream, error) {
				return api.Stream{ContentType: "text/plain", Name: "lines.txt", Write: func(w io.Writer) error {
					if _, err := io.WriteString(w, "one\n"); err != nil || !in.Fail {
						return err
					}
					return errors.New("the database is gone")
				}}, nil
			}),
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	for query, whole := range map[string]bool{"": true, "?fail=true": false} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/api/v1/lines"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer x")
		resp, err := http.DefaultClient.Do(r)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if (err == nil) != whole {
			t.Errorf("%q: %q, %v", query, body, err)
		}
		if whole && (string(body) != "one\n" || resp.Header.Get("Content-Type") != "text/plain" ||
			resp.Header.Get("Content-Disposition") != "attachment; filename=lines.txt") {
			t.Errorf("%q %v", body, resp.Header)
		}
	}
}
