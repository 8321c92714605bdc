package pdpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// forwardedPaths are the addresses of the decision API, below the tenant's base.
var forwardedPaths = []string{"POST /api/check", "POST /api/check/resources", "POST /api/check_resource_batch",
	"POST /api/plan/resources", "GET /api/server_info", "POST /access/v1/"}

// newHTTP returns the handler of the HTTP listener.
func (p *Proxy) newHTTP() http.Handler {
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(p.base)
			for _, name := range []string{"Authorization", "Cookie", "Forwarded"} {
				r.Out.Header.Del(name)
			}
		},
		Transport: authorized{p},
		ModifyResponse: func(r *http.Response) error {
			for name := range r.Header { // what the server allows browsers, it allows at its own address
				if strings.HasPrefix(name, "Access-Control-") || name == "Strict-Transport-Security" ||
					name == "Set-Cookie" {
					r.Header.Del(name)
				}
			}
			return nil
		},
		ErrorHandler: p.unanswered,
		ErrorLog:     slog.NewLogLogger(p.Log.Handler(), slog.LevelWarn),
	}
	mux := http.NewServeMux()
	for _, pattern := range forwardedPaths {
		mux.Handle(pattern, forward)
	}
	mux.HandleFunc("GET /_cerbos/health", func(w http.ResponseWriter, _ *http.Request) {
		if !p.serving.Load() {
			answer(w, http.StatusServiceUnavailable, map[string]any{"status": "NOT_SERVING"})
			return
		}
		answer(w, http.StatusOK, map[string]any{"status": "SERVING"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, codes.NotFound, "This proxy forwards the decision API only.")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page in a browser of this machine reaches the proxy too. Browsers name its origin.
		if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			fail(w, http.StatusForbidden, codes.PermissionDenied, "This proxy answers programs, not browsers.")
			return
		}
		if !p.enter() {
			w.Header().Set("Retry-After", "1")
			fail(w, http.StatusTooManyRequests, codes.ResourceExhausted, tooMany)
			return
		}
		defer p.leave()
		ctx, cancel := context.WithTimeout(r.Context(), callTime)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
}

// authorized sends requests with the proxy's token. If the token is refused, it sends them once
// more with another.
type authorized struct{ p *Proxy }

// RoundTrip implements http.RoundTripper.
func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := a.p.tokens.current()
	if err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		body, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	send := func(token string) (*http.Response, error) {
		out := r.Clone(r.Context())
		out.Body, out.ContentLength = http.NoBody, int64(len(body))
		if len(body) > 0 {
			out.Body = io.NopCloser(bytes.NewReader(body))
		}
		out.Header.Set("Authorization", "Bearer "+token)
		return a.p.transport.RoundTrip(out)
	}
	res, err := send(token)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		return res, err
	}
	fresh, err := a.p.tokens.replace(r.Context(), token)
	if err != nil {
		return res, nil //nolint:nilerr // the server's own refusal is the answer
	}
	_ = res.Body.Close()
	return send(fresh)
}

// unanswered answers a request to which the server gave no answer.
func (p *Proxy) unanswered(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		fail(w, http.StatusRequestEntityTooLarge, codes.InvalidArgument, "The request is larger than is accepted.")
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil: // the caller has gone
	case errors.Is(err, context.DeadlineExceeded):
		fail(w, http.StatusGatewayTimeout, codes.DeadlineExceeded, "The answer took too long.")
	default:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, codes.Unavailable, sentence(withoutURL(err)))
	}
}

// fail answers in the form of the decision API, which is grpc-gateway's.
func fail(w http.ResponseWriter, code int, grpc codes.Code, message string) {
	answer(w, code, map[string]any{"code": grpc, "message": message, "details": []any{}})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a failure means that the caller has gone
}

// checkHTTP calls the server once, so that a wrong address is found at the start.
func (p *Proxy) checkHTTP(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/api/server_info", nil)
	if err != nil {
		return err
	}
	res, err := authorized{p}.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", p.URL, withoutURL(err))
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	var said struct {
		Message string `json:"message"`
	}
	_ = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&said)
	err = fmt.Errorf("the decision API at %s refuses the application %s: %s %s", p.URL, p.ClientID, res.Status,
		said.Message)
	if res.StatusCode < http.StatusInternalServerError && res.StatusCode != http.StatusTooManyRequests {
		return refusal{err.Error()}
	}
	return err
}

// alive reports whether the server answers its health check.
func (p *Proxy) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/_cerbos/health", nil)
	if err != nil {
		return false
	}
	res, err := p.transport.RoundTrip(r)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// baseOf returns the address of a tenant, or an error that says what one looks like.
func baseOf(issuer string) (*url.URL, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("name the tenant with --url or GATEHOUSE_URL, such as https://id.example.com/t/acme")
	}
	return u, nil
}
