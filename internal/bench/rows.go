package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// line is how a row is measured.
type line struct {
	row
	requests int                                 // per repetition
	bare     func() (recorded, error)            // the answer a bare handler gives again, as the floor
	times    float64                             // the budget as a multiple of the bare handler
	start    func([]*connection) (target, error) // connects the load
}

// lines are the rows of the report, with their budgets.
func lines(s *scene, l limits, sz size) []line {
	const micro = float64(time.Microsecond)
	signature, hash := float64(l.ES256)/micro, float64(l.Argon2id)/micro
	read, commit := l.Read.total(), l.Commit.total()
	within := func(name string, budget, floor float64, of string) row {
		return row{Name: name, Budget: fmt.Sprintf("≤ %.0f µs", budget), Limit: budget, Floor: floor, Of: of}
	}
	prepared := func(request []byte) func([]*connection) (target, error) {
		return func(c []*connection) (target, error) {
			return target{op: func(w, _ int) error {
				_, err := c[w].roundTrip(request, http.StatusOK)
				return err
			}}, nil
		}
	}
	discovery, jwks := "/.well-known/openid-configuration", "/oauth2/jwks"
	credentials := url.Values{"grant_type": {"client_credentials"}}
	some := max(sz.Requests/4, sz.Workers)
	return []line{
		{row: within("client credentials, ES256 JWT", 120, signature, "one ES256 signature"), requests: sz.Requests,
			start: prepared(s.post("/oauth2/token", s.machine, credentials))},
		{row: within("client credentials, opaque token", 260, commit, "one commit"), requests: sz.Requests,
			start: prepared(s.post("/oauth2/token", s.opaque, credentials))},
		{row: within("introspection, opaque token", 220, read, "one key read"), requests: sz.Requests,
			start: s.introspection},
		{row: within("session check", 180, read, "one key read"), requests: sz.Requests,
			start: func(c []*connection) (target, error) {
				cookie, err := s.session()
				if err != nil {
					return target{}, err
				}
				return prepared(s.get("/account/session", cookie))(c)
			}},
		{row: within("userinfo, JWT", 250, read, "one key read"), requests: sz.Requests, start: s.userinfo},
		{row: within("refresh at age 1, with ES256 ID token", 600, 2*signature+commit,
			"two ES256 signatures, one commit"), requests: some, start: s.firstRefresh},
		{row: within(fmt.Sprintf("refresh at age %d, with ES256 ID token", sz.Age), 600, 2*signature+commit,
			"two ES256 signatures, one commit"), requests: some,
			start: func(c []*connection) (target, error) { return s.refreshAt(sz.Age, c) }},
		{row: within("code exchange, with ES256 ID token", 900, 2*signature+commit,
			"two ES256 signatures, one commit"), requests: some, start: s.exchange},
		{row: row{Name: "sign-in: authorize, page, password, code", Budget: "≤ 1.1 × argon2id", Limit: 1.1 * hash,
			Floor: hash, Of: "one argon2id hash"}, requests: sz.SignIns,
			start: func([]*connection) (target, error) {
				return target{op: func(int, int) error {
					_, err := process.NewVisitor().Authorize(s.web, s.authorizationRequest(), s.user, password)
					return err
				}}, nil
			}},
		{row: row{Name: "discovery", Budget: "≤ 1.5 × bare handler"}, times: 1.5, requests: sz.Requests,
			bare:  func() (recorded, error) { return record(s, "GET", discovery, process.Application{}, nil) },
			start: prepared(s.get(discovery))},
		{row: row{Name: "JWKS", Budget: "≤ 1.5 × bare handler"}, times: 1.5, requests: sz.Requests,
			bare:  func() (recorded, error) { return record(s, "GET", jwks, process.Application{}, nil) },
			start: prepared(s.get(jwks))},
	}
}

// introspection asks about one opaque token, which is renewed before each load: it ends after
// minutes.
func (s *scene) introspection(c []*connection) (target, error) {
	var request []byte
	return target{
		prepare: func(int) error {
			var tokens process.Tokens
			err := process.PostForm(http.DefaultClient, s.issuer+"/oauth2/token", s.opaque.ClientID, s.opaque.Secret,
				url.Values{"grant_type": {"client_credentials"}}, &tokens)
			request = s.post("/oauth2/introspect", s.opaque, url.Values{"token": {tokens.AccessToken}})
			return err
		},
		op: func(w, _ int) error {
			body, err := c[w].roundTrip(request, http.StatusOK)
			if err == nil && !strings.Contains(string(body), `"active":true`) {
				err = fmt.Errorf("introspection: %.300s", body)
			}
			return err
		},
	}, nil
}

// userinfo asks with one access token, which is renewed before each load: it ends after minutes.
func (s *scene) userinfo(c []*connection) (target, error) {
	var request []byte
	return target{
		prepare: func(int) error {
			tokens, err := process.NewVisitor().SignIn(s.web, s.user, password, scope)
			request = s.get("/oauth2/userinfo", "Authorization: Bearer "+tokens.AccessToken)
			return err
		},
		op: func(w, _ int) error {
			_, err := c[w].roundTrip(request, http.StatusOK)
			return err
		},
	}, nil
}

// exchange redeems codes that were issued before.
func (s *scene) exchange(c []*connection) (target, error) {
	var codes []url.Values
	return target{
		prepare: func(n int) error {
			var err error
			codes, err = s.codes(n)
			return err
		},
		op: func(w, i int) error {
			_, err := s.tokens(c[w], codes[i])
			return err
		},
	}, nil
}

// firstRefresh redeems the first token of families that were started before.
func (s *scene) firstRefresh(c []*connection) (target, error) {
	var tokens []string
	return target{
		prepare: func(n int) error {
			var err error
			tokens, err = s.families(n, c[0])
			return err
		},
		op: func(w, i int) error {
			_, err := s.rotate(c[w], tokens[i])
			return err
		},
	}, nil
}

// refreshAt refreshes families that were refreshed age times before, one for each worker.
func (s *scene) refreshAt(age int, c []*connection) (target, error) {
	tokens, err := s.families(len(c), c[0])
	if err != nil {
		return target{}, err
	}
	op := func(w, _ int) error {
		next, err := s.rotate(c[w], tokens[w])
		tokens[w] = next
		return err
	}
	_, err = load(s.server.PID(), len(c), len(c)*age, op)
	return target{op: op}, err
}

// rotate redeems a refresh token and returns its successor.
func (s *scene) rotate(c *connection, token string) (string, error) {
	next, err := s.tokens(c, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	if err == nil && (next.RefreshToken == "" || next.RefreshToken == token) {
		err = errors.New("the refresh token was not rotated")
	}
	return next.RefreshToken, err
}

// tokens asks the token endpoint for the web application.
func (s *scene) tokens(c *connection, form url.Values) (process.Tokens, error) {
	var tokens process.Tokens
	body, err := c.roundTrip(s.post("/oauth2/token", s.web, form), http.StatusOK)
	if err == nil {
		err = json.Unmarshal(body, &tokens)
	}
	return tokens, err
}

// families starts n refresh families.
func (s *scene) families(n int, c *connection) ([]string, error) {
	var tokens []string
	for len(tokens) < n {
		codes, err := s.codes(min(n-len(tokens), codesOfOne))
		if err != nil {
			return nil, err
		}
		for _, code := range codes {
			got, err := s.tokens(c, code)
			if err == nil && got.RefreshToken == "" {
				err = errors.New("no refresh token for offline_access")
			}
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, got.RefreshToken)
		}
	}
	return tokens, nil
}

// codesOfOne is how many codes of one user may be open: fewer than the server allows.
const codesOfOne = 30

// codes returns n authorization codes as the forms that redeem them, of one user for each 30.
// A code ends after a minute.
func (s *scene) codes(n int) ([]url.Values, error) {
	var forms []url.Values
	for i := range n {
		if i/codesOfOne == len(s.visitors) {
			user, err := s.newUser()
			if err != nil {
				return nil, err
			}
			v := process.NewVisitor()
			if _, err := v.SignIn(s.web, user, password, scope); err != nil {
				return nil, err
			}
			s.visitors = append(s.visitors, v)
		}
	}
	for i := range n {
		to, err := s.visitors[i/codesOfOne].Authorize(s.web, s.authorizationRequest(), "", "")
		if err != nil {
			return nil, err
		}
		forms = append(forms, url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")},
			"redirect_uri": {redirectURI}, "code_verifier": {verifier}})
	}
	return forms, nil
}

// verifier is the code verifier of RFC 7636, appendix B; challenge belongs to it.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// authorizationRequest returns the address that an application sends the browser to.
func (s *scene) authorizationRequest() string {
	return s.issuer + "/oauth2/authorize?" + url.Values{
		"client_id": {s.web.ClientID}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "scope": {scope},
		"state": {"s"}, "nonce": {strings.Repeat("n", 22)},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}.Encode()
}
