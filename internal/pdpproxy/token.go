package pdpproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// scopeDecide is the scope that the decision API requires.
const scopeDecide = "gatehouse:decide"

// Bounds on the requests for tokens.
const (
	fetchTime  = 10 * time.Second
	fetchPause = time.Second // between two requests, whatever happens
	maxAnswer  = 1 << 20     // bytes
)

// source gets the token of a machine application and renews it. It is safe for concurrent use.
type source struct {
	issuer string
	id     string
	secret secret.String
	client *http.Client
	clock  clock.Clock

	mu    sync.Mutex
	token string
	renew time.Time // when to get the next one
	ends  time.Time
	err   error // of the last request

	fetching sync.Mutex // one request at a time
	fetched  time.Time  // when the last one began
}

// refusal is an answer of the token endpoint that another request would not change.
type refusal struct{ reason string }

func (r refusal) Error() string { return r.reason }

var (
	errNoToken = errors.New("there is no access token yet")
	// errTooSoon is the error for a request right after the last one.
	errTooSoon = errors.New("the token was requested a moment ago")
)

// current returns the token. It fails if there is none that lasts.
func (s *source) current() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.token != "" && s.clock.Now().Before(s.ends):
		return s.token, nil
	case s.err != nil:
		return "", s.err
	}
	return "", errNoToken
}

// last returns the token, whether or not it has ended. It is empty before the first one.
func (s *source) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// due returns how long to wait before the token shall be renewed.
func (s *source) due() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renew.Sub(s.clock.Now())
}

// replace gets another token than old, unless one is there already, and returns it.
func (s *source) replace(ctx context.Context, old string) (string, error) {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	if token := s.last(); token != old {
		return token, nil
	}
	if s.clock.Now().Sub(s.fetched) < fetchPause {
		return "", errTooSoon
	}
	s.fetched = s.clock.Now()
	token, life, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	if err != nil {
		return "", err
	}
	s.token, s.ends, s.renew = token, s.fetched.Add(life), s.fetched.Add(renewAfter(life))
	return token, nil
}

// renewAfter returns how long to use a token that lasts for life. What is left must suffice for
// some failed requests.
func renewAfter(life time.Duration) time.Duration { return life * 3 / 4 }

// fetch requests a token (RFC 6749 §4.4). It fails with a refusal if the server says no.
func (s *source) fetch(ctx context.Context) (string, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scopeDecide}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.issuer+"/oauth2/token",
		strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(s.id), url.QueryEscape(s.secret.Reveal()))
	res, err := s.client.Do(r)
	if err != nil {
		return "", 0, fmt.Errorf("no answer from %s: %w", s.issuer, withoutURL(err))
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Token       string `json:"access_token"`
		Seconds     int64  `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&answer)
	switch {
	case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests:
		return "", 0, fmt.Errorf("%s answered %s", s.issuer, res.Status)
	case answer.Error != "":
		return "", 0, refusal{fmt.Sprintf("%s gives no token: %s (%s)", s.issuer, answer.Description, answer.Error)}
	case err != nil || res.StatusCode != http.StatusOK || answer.Token == "" || answer.Seconds < 1:
		return "", 0, refusal{fmt.Sprintf("%s/oauth2/token answered %s and no token. Is --url the issuer of a "+
			"tenant, such as https://id.example.com/t/acme?", s.issuer, res.Status)}
	}
	return answer.Token, time.Duration(answer.Seconds) * time.Second, nil
}

// withoutURL removes the method and the address, which the message has already.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
