package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/doors/admin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
)

// remote says which tenant of which server a command speaks to, and as whom.
type remote struct {
	URL          string `name:"url" placeholder:"URL" help:"The tenant's issuer: https://id.example.com/t/acme. Also GATEHOUSE_URL."`
	Token        string `name:"token" placeholder:"TOKEN" help:"An access token with the scope gatehouse:manage. Better GATEHOUSE_TOKEN, which other users of the machine cannot see."`
	ClientID     string `name:"client-id" placeholder:"ID" help:"A machine application that gets the token. Also GATEHOUSE_CLIENT_ID."`
	ClientSecret string `name:"client-secret" placeholder:"SECRET" help:"Its secret. Better GATEHOUSE_CLIENT_SECRET or GATEHOUSE_CLIENT_SECRET_FILE."`
}

// largestAnswer bounds what is read of a server's answer, in bytes.
const largestAnswer = 64 << 20

// client answers within a minute or not at all, and follows no redirect with a token in hand.
var client = &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// refusal is a problem document that the server answered.
type refusal struct{ api.Problem }

// Error lists what is wrong, as compilers do.
func (r *refusal) Error() string {
	var b strings.Builder
	for _, e := range r.Errors {
		switch {
		case e.Message != "":
			b.WriteString(place(e.File, e.Line, e.Column) + e.Message + "\n")
		case e.Reason != r.Detail:
			b.WriteString(e.Name + ": " + e.Reason + "\n")
		}
	}
	return strings.TrimSuffix(b.String()+r.Detail, "\n") + " (" + r.Code + ")"
}

// complete fills what was not given from the environment.
func (c *remote) complete(e *env) error {
	get := func(name string) string {
		for _, kv := range e.environ {
			if value, ok := strings.CutPrefix(kv, name+"="); ok {
				return value
			}
		}
		return ""
	}
	for _, v := range []struct {
		to   *string
		name string
	}{{&c.URL, "GATEHOUSE_URL"}, {&c.Token, "GATEHOUSE_TOKEN"}, {&c.ClientID, "GATEHOUSE_CLIENT_ID"}, {&c.ClientSecret, "GATEHOUSE_CLIENT_SECRET"}} {
		if *v.to == "" {
			*v.to = get(v.name)
		}
		if file := get(v.name + "_FILE"); *v.to == "" && file != "" {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			*v.to = strings.TrimSpace(string(b))
		}
	}
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return errors.New("say which tenant: --url https://id.example.com/t/acme, or GATEHOUSE_URL; validate and test also take a directory and need no server")
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.Token == "" && (c.ClientID == "" || c.ClientSecret == "") {
		return errors.New("say who you are: --token, or --client-id and --client-secret of a machine application; also as GATEHOUSE_TOKEN, GATEHOUSE_CLIENT_ID and GATEHOUSE_CLIENT_SECRET")
	}
	return nil
}

// login gets a token where none was given.
func (c *remote) login(e *env) error {
	if err := c.complete(e); err != nil || c.Token != "" {
		return err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {admin.Scope}}
	r, err := http.NewRequestWithContext(e.ctx, "POST", c.URL+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Token       string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer)
	switch {
	case answer.Error != "":
		return fmt.Errorf("no token from %s: %s (%s)", c.URL, answer.Description, answer.Error)
	case err != nil || res.StatusCode != http.StatusOK || answer.Token == "":
		return fmt.Errorf("no token from %s/oauth2/token: it answered %s. Is --url the tenant's issuer?", c.URL, res.Status)
	}
	c.Token = answer.Token
	return nil
}

// call asks the tenant's management API. body is bytes, or what is sent as JSON; into gets the
// answer: *[]byte as it is, nil not at all, else as JSON. It fails with a refusal.
func (c *remote) call(e *env, method, path string, query url.Values, body, into any) error {
	if err := c.login(e); err != nil {
		return err
	}
	var in io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case []byte:
		in, contentType = bytes.NewReader(b), "application/gzip"
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return err
		}
		in, contentType = bytes.NewReader(text), "application/json"
	}
	target := c.URL + admin.Prefix + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(e.ctx, method, target, in)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, largestAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		p := &refusal{}
		if json.Unmarshal(answer, &p.Problem) != nil || p.Code == "" {
			return fmt.Errorf("%s answered %s. Is --url the tenant's issuer?", target, res.Status)
		}
		return p
	}
	switch to := into.(type) {
	case nil:
		return nil
	case *[]byte:
		*to = answer
		return nil
	}
	return json.Unmarshal(answer, into)
}

// export gets policies as an archive: of a revision, of what is in force (0) or of the draft.
func (c *remote) export(e *env, form string, revision int64, draft bool) (archive []byte, err error) {
	query := url.Values{"format": {form}}
	if revision > 0 {
		query.Set("revision", strconv.FormatInt(revision, 10))
	}
	if draft {
		query.Set("draft", "true")
	}
	err = c.call(e, "GET", "/policies/export", query, nil, &archive)
	return archive, err
}
