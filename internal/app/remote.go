package app

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/doors/admin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
)

// remote holds the tenant that a command calls, and its credentials.
type remote struct {
	URL          string `name:"url" placeholder:"URL" help:"Issuer of the tenant, such as https://id.example.com/t/acme."`
	Token        string `name:"token" placeholder:"TOKEN" help:"Access token with the scope gatehouse:manage. Prefer GATEHOUSE_TOKEN, which other users of the machine cannot see."`
	ClientID     string `name:"client-id" placeholder:"ID" help:"Machine application that gets the token."`
	ClientSecret string `name:"client-secret" placeholder:"SECRET" help:"Secret of that application. Prefer GATEHOUSE_CLIENT_SECRET or GATEHOUSE_CLIENT_SECRET_FILE."`
}

// maxAnswer bounds a server's answer, in bytes.
const maxAnswer = 64 << 20

// client gives up after a minute. It follows no redirect, because the target would receive the
// token.
var client = &http.Client{
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// refusal is a problem document of the server.
type refusal struct{ api.Problem }

// Error lists the problems as compilers do.
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

// complete reads missing fields from the environment.
func (c *remote) complete(e *env) error {
	for _, v := range []struct {
		to   *string
		name string
	}{
		{&c.URL, "GATEHOUSE_URL"}, {&c.Token, "GATEHOUSE_TOKEN"},
		{&c.ClientID, "GATEHOUSE_CLIENT_ID"}, {&c.ClientSecret, "GATEHOUSE_CLIENT_SECRET"},
	} {
		var err error
		if *v.to, err = e.setting(v.name, *v.to); err != nil {
			return err
		}
	}
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return errors.New("name the tenant with --url or GATEHOUSE_URL, such as https://id.example.com/t/acme; " +
			"validate and test need no server if they get a directory")
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.Token == "" && (c.ClientID == "" || c.ClientSecret == "") {
		return errors.New("give a token with --token or GATEHOUSE_TOKEN, or a machine application with " +
			"--client-id and --client-secret, or GATEHOUSE_CLIENT_ID and GATEHOUSE_CLIENT_SECRET")
	}
	return nil
}

// setting returns the value of a flag, or without one that of a variable, or of the file that the
// variable's _FILE form names.
func (e *env) setting(name, flag string) (string, error) {
	get := func(name string) string {
		for _, kv := range e.environ {
			if value, ok := strings.CutPrefix(kv, name+"="); ok {
				return value
			}
		}
		return ""
	}
	value := cmp.Or(flag, get(name))
	if file := get(name + "_FILE"); value == "" && file != "" {
		text, err := config.ReadSecret(file)
		if err != nil {
			return "", fmt.Errorf("%s_FILE: %w", name, err)
		}
		value = text.Reveal()
	}
	return strings.TrimSpace(value), nil // none of them has blanks
}

// login gets a token if the command has none.
func (c *remote) login(e *env) error {
	if err := c.complete(e); err != nil || c.Token != "" {
		return err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {application.ScopeManage}}
	r, err := http.NewRequestWithContext(e.ctx, "POST", c.URL+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	res, err := client.Do(r)
	if err != nil {
		return c.unreachable(err)
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
		return fmt.Errorf("no token from %s/oauth2/token: it answered %s. %s", c.URL, res.Status, c.wrongURL())
	}
	c.Token = answer.Token
	return nil
}

// call sends a request to the tenant's management API, and decodes the answer into into.
//
// It sends bytes as gzip and any other body as JSON. An into of type *[]byte receives the raw
// answer, nil receives nothing, and any other into is decoded from JSON. It fails with a refusal.
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
	res, err := patient(r)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		p := &refusal{}
		if json.Unmarshal(answer, &p.Problem) != nil || p.Code == "" {
			return fmt.Errorf("%s answered %s. %s", target, res.Status, c.wrongURL())
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

// unreachable says which server a request did not reach.
func (c *remote) unreachable(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok { // it repeats the method and the whole URL
		err = wrapped.Err
	}
	return fmt.Errorf("no answer from %s (--url or GATEHOUSE_URL): %w. Start the server, or correct the URL", c.URL,
		err)
}

// wrongURL says what the URL of a tenant looks like.
func (c *remote) wrongURL() string {
	if u, err := url.Parse(c.URL); err == nil && u.Path == "" {
		return "The URL names no tenant: give --url its issuer, such as " + c.URL + "/t/acme"
	}
	return "Is --url the tenant's issuer?"
}

// maxPatience bounds how long a command waits altogether because a server asks it to.
const maxPatience = time.Minute

// patient sends a request, and again when the server says Retry-After: its tenant has too much
// under way, or it is about to start.
func patient(r *http.Request) (*http.Response, error) {
	for waited := time.Duration(0); ; {
		res, err := client.Do(r)
		if err != nil || res.StatusCode != http.StatusTooManyRequests && res.StatusCode !=
			http.StatusServiceUnavailable {
			return res, err
		}
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		wait := time.Duration(max(1, seconds)) * time.Second
		if waited += wait; err != nil || waited > maxPatience {
			return res, nil
		}
		_ = res.Body.Close()
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		if r.GetBody != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// export returns an archive of a revision, of the revision in force (0) or of the draft.
func (c *remote) export(e *env, form string, revision int64, draft bool) ([]byte, error) {
	query := url.Values{"format": {form}}
	if revision > 0 {
		query.Set("revision", strconv.FormatInt(revision, 10))
	}
	if draft {
		query.Set("draft", "true")
	}
	var archive []byte
	err := c.call(e, "GET", "/policies/export", query, nil, &archive)
	return archive, err
}
