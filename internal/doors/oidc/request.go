package oidc

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Scopes that every application may request, and offline_access of OpenID Connect Core §11.
const (
	scopeOpenID  = "openid"
	scopeOffline = "offline_access"
)

// request is a validated authorization request. The sign-in flow stores it, so that no part of it
// comes from the browser a second time.
type request struct {
	Application id.ID         `json:"application"`
	Target      target        `json:"target"`
	Scopes      []string      `json:"scopes"`
	Resources   []string      `json:"resources,omitempty"` // of grant.Grant
	Nonce       string        `json:"nonce,omitempty"`
	Challenge   string        `json:"challenge,omitempty"` // S256, or "" where a confidential client sent none
	None        bool          `json:"none,omitempty"`      // prompt=none: show no page
	Login       bool          `json:"login,omitempty"`     // prompt=login or select_account
	Consent     bool          `json:"consent,omitempty"`   // prompt=consent
	MaxAge      *int64        `json:"max_age,omitempty"`   // seconds; zero is not absent
	LoginHint   string        `json:"login_hint,omitempty"`
	Locales     []string      `json:"locales,omitempty"`
	Claims      claimsRequest `json:"claims"`
	RequireMFA  bool          `json:"require_mfa,omitempty"` // by acr_values or the claims parameter
	ACR         []string      `json:"acr,omitempty"`         // essential: one of these, or the request fails
	Subject     string        `json:"subject,omitempty"`     // required sub, by id_token_hint or the claims parameter
	SubjectOf   string        `json:"subject_of,omitempty"`  // client_id of the application that was told Subject

	apis []*resourceserver.API // of Resources, while the request is read
}

// Limits on the lists of a request.
const (
	maxScopes  = 50
	maxPrompts = 8
	maxACR     = 16
	maxLocales = 16
	maxMaxAge  = 10 * 365 * 24 * 3600 // seconds; more is as good as no limit
)

// checkTarget finds the client and checks its redirect URI. Before that no error may be redirected,
// so its own errors are pages (RFC 6749 §4.1.2.1).
func (d *Door) checkTarget(ctx context.Context, c caller.Caller, p params) (*application.Application, target, error) {
	if p.repeated == "client_id" || p.repeated == "redirect_uri" {
		return nil, target{}, onPage("oauth.repeated", "The application sent %s more than once. Tell its operator.",
			p.repeated)
	}
	clientID, uri := p.get("client_id"), p.get("redirect_uri")
	if clientID == "" {
		return nil, target{}, onPage("oauth.client_id_missing",
			"The application did not say which one it is: client_id is missing. Tell its operator.")
	}
	app, err := d.Applications.ByClientID(ctx, c, clientID)
	if fault.Of(err) == fault.NotFound {
		return nil, target{}, onPage("oauth.client_unknown",
			"No application with this client_id is registered here. Tell the operator of the application: its "+
				"client_id and its issuer must be those of one registration.")
	}
	if err != nil {
		return nil, target{}, err
	}
	switch {
	case app.Status != application.Active:
		return nil, target{}, onPage("oauth.client_disabled",
			"This application has been switched off by an administrator.")
	case uri == "":
		return nil, target{}, onPage("oauth.redirect_uri_missing",
			"The application did not say where to return to: redirect_uri is missing. Tell its operator.")
	case !app.MatchesRedirect(uri):
		return nil, target{}, onPage("oauth.redirect_uri_unknown",
			"The address that the application wants to return to is not registered for it: redirect_uri must equal "+
				"a registered one to the letter. Its operator should register the one that it sends, or correct it "+
				"in the application's settings.")
	}
	t := target{URI: uri, Mode: modeQuery, State: p.get("state")}
	switch p.get("response_mode") {
	case modeFormPost:
		t.Mode = modeFormPost
	case modeFragment: // refused by checkForm, in the fragment, where the client will look
		t.Mode = modeFragment
	case "":
		if answersInFragment(p.get("response_type")) {
			t.Mode = modeFragment
		}
	}
	return app, t, nil
}

// answersInFragment reports whether a response type that we do not support answers in the fragment
// by default (Multiple Response Types §5). The client expects the error there.
func answersInFragment(responseType string) bool {
	return slices.ContainsFunc(strings.Fields(responseType),
		func(s string) bool { return s == "token" || s == "id_token" })
}

// parseRequest validates the parameters of an authorization request. All its errors go to t. The
// caller checks id_token_hint, whose keys are in the database.
func parseRequest(p params, app *application.Application, t target) (request, error) {
	q := request{Application: app.ID, Target: t, Nonce: p.get("nonce"), LoginHint: p.get("login_hint")}
	for _, check := range []func(*request, params, *application.Application) error{
		checkForm, checkScope, checkChallenge, checkPrompt, checkClaims,
	} {
		if err := check(&q, p, app); err != nil {
			return request{}, err
		}
	}
	return q, nil
}

func checkForm(q *request, p params, app *application.Application) error {
	t := q.Target
	switch {
	case p.repeated != "":
		return t.fail(codeInvalidRequest, "%s was sent more than once.", p.repeated)
	case p.has("request"):
		return t.fail(codeRequestUnsupported, "Request objects are not supported; send plain parameters.")
	case p.has("request_uri"):
		return t.fail(codeRequestURI, "request_uri is not supported; send plain parameters.")
	case p.has("registration"):
		return t.fail(codeRegistration,
			"The registration parameter is not supported; applications are registered beforehand.")
	case !p.has("response_type"):
		return t.fail(codeInvalidRequest, "response_type is missing; it must be code.")
	case p.get("response_type") != "code":
		return t.fail(codeUnsupportedResponse, "The only supported response_type is code.")
	case app.Type == application.Machine:
		return t.fail(codeUnauthorizedClient, "A machine application acts for itself. No user signs in to it.")
	}
	switch p.get("response_mode") {
	case "", modeQuery, modeFormPost:
	default:
		return t.fail(codeInvalidRequest, "response_mode must be query or form_post.")
	}
	locales, err := words(p.get("ui_locales"), maxLocales)
	if err != nil {
		return t.fail(codeInvalidRequest, "ui_locales has more than %d entries.", maxLocales)
	}
	q.Locales = locales
	return nil
}

// checkScope keeps the scopes that the application may have, and ignores unknown ones (OpenID
// Connect Core §3.1.2.1).
func checkScope(q *request, p params, app *application.Application) error {
	asked, err := words(p.get("scope"), maxScopes)
	if err != nil {
		return q.Target.fail(codeInvalidScope, "scope has more than %d entries.", maxScopes)
	}
	if q.Scopes = allowedScopes(app, asked); len(q.Scopes) == 0 {
		return q.Target.fail(codeInvalidScope, "scope names nothing that this application may ask for.")
	}
	return nil
}

// allowedScopes returns the scopes of asked that app may have, in the same order.
func allowedScopes(app *application.Application, asked []string) []string {
	out := []string{}
	for _, s := range asked {
		if app.MayHave(s) {
			out = append(out, s)
		}
	}
	return out
}

// checkChallenge requires PKCE with S256 from every public client (RFC 7636, RFC 9700 §2.1.1). A
// confidential client may send a nonce instead: the ID token then binds the code to the sign-in. An
// application with AllowUnboundCode may send neither.
func checkChallenge(q *request, p params, app *application.Application) error {
	t, challenge, method := q.Target, p.get("code_challenge"), p.get("code_challenge_method")
	public := app.AuthMethod == application.AuthNone
	nonce := q.Nonce != "" && slices.Contains(q.Scopes, scopeOpenID) // without an ID token it binds nothing
	switch {
	case challenge == "" && method != "":
		return t.fail(codeInvalidRequest, "code_challenge_method was sent without code_challenge.")
	case challenge == "" && public:
		return t.fail(codeInvalidRequest, "code_challenge is missing; PKCE with S256 is required (RFC 7636).")
	case challenge == "" && !nonce && !app.AllowUnboundCode:
		return t.fail(codeInvalidRequest, "The application sent neither PKCE (code_challenge) nor a nonce with the "+
			"scope openid. Its operator should turn on PKCE with S256 in its settings. If it has no such setting, an "+
			"administrator may set allow_unbound_code for it here.")
	case challenge == "":
		return nil
	case method != "S256":
		return t.fail(codeInvalidRequest,
			"code_challenge_method must be S256; without it the method would be plain, which is not supported.")
	case !validChallenge(challenge):
		return t.fail(codeInvalidRequest, "code_challenge must be the base64url of a SHA-256, %d characters.",
			challengeLen)
	}
	q.Challenge = challenge
	return nil
}

func checkPrompt(q *request, p params, _ *application.Application) error {
	t := q.Target
	prompts, err := words(p.get("prompt"), maxPrompts)
	if err != nil {
		return t.fail(codeInvalidRequest, "prompt has too many values.")
	}
	for _, s := range prompts {
		switch s {
		case "none":
			q.None = true
		case "login", "select_account":
			q.Login = true
		case "consent":
			q.Consent = true
		default:
			return t.fail(codeInvalidRequest, "prompt may be none, login, consent and select_account.")
		}
	}
	if q.None && len(prompts) > 1 {
		return t.fail(codeInvalidRequest, "prompt=none cannot be combined with other values.")
	}
	if s := p.get("max_age"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return t.fail(codeInvalidRequest, "max_age must be a number of seconds.")
		}
		n = min(n, maxMaxAge)
		q.MaxAge = &n
	}
	return nil
}

// checkClaims reads the claims parameter and acr_values. acr_values is voluntary: a person who
// cannot prove more continues with less. An unmet essential acr fails the request (OpenID Connect
// Core §5.5.1.1).
func checkClaims(q *request, p params, app *application.Application) error {
	t := q.Target
	var err error
	if q.Claims, err = parseClaims(p.get("claims")); err != nil {
		return t.fail(codeInvalidRequest, "%s", err)
	}
	q.Claims = q.Claims.within(app.Scopes)
	sub, ok := q.Claims.subject()
	if !ok {
		return t.fail(codeInvalidRequest, "The claims parameter asks for a sub that no user can have.")
	}
	q.Subject = sub
	wished, err := words(p.get("acr_values"), maxACR)
	if err != nil {
		return t.fail(codeInvalidRequest, "acr_values has more than %d entries.", maxACR)
	}
	if w, asked := q.Claims.IDToken["acr"]; asked {
		values := w.strings()
		if w.Essential && len(values) > 0 {
			if q.ACR = known(values); len(q.ACR) == 0 {
				return t.fail(codeUnmetAuthentication,
					"None of the essential acr values can be met here; there are %s and %s.", signin.OneFactor,
					signin.TwoFactors)
			}
			q.RequireMFA = !slices.Contains(q.ACR, signin.OneFactor)
			return nil
		}
		wished = append(wished, values...)
	}
	if k := known(wished); len(k) > 0 && k[0] == signin.TwoFactors {
		q.RequireMFA = true
	}
	return nil
}

// known returns the values that are classes of ours.
func known(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values),
		func(s string) bool { return s != signin.OneFactor && s != signin.TwoFactors })
}

// maxAge returns MaxAge as a duration, or nil without one.
func (q *request) maxAge() *time.Duration {
	if q.MaxAge == nil {
		return nil
	}
	d := time.Duration(*q.MaxAge) * time.Second
	return &d
}

// consentScopes returns the scopes that a person must allow, including those of single claims. For
// a first-party application they are only those with which it acts in the tenant for that person.
func (q *request) consentScopes(app *application.Application) []string {
	if app.FirstParty {
		return slices.DeleteFunc(slices.Clone(q.Scopes), func(s string) bool { return !application.ReservedScope(s) })
	}
	out := resourceserver.Consents(q.apis, q.Scopes)
	for _, s := range q.Claims.scopes() {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// acrOf returns the class to report for a session: its own, or a lower one if the request insists
// on that. ok is false if the session meets no class that the request insists on.
func (q *request) acrOf(s session.Session) (string, bool) {
	if len(q.ACR) == 0 || slices.Contains(q.ACR, s.ACR) {
		return s.ACR, true
	}
	if s.ACR == signin.TwoFactors && slices.Contains(q.ACR, signin.OneFactor) {
		return signin.OneFactor, true
	}
	return "", false
}

// demand is what the sign-in flow for the request is begun with.
func (q *request) demand(app *application.Application) signin.Demand {
	return signin.Demand{
		Kind: signin.Authorize, Application: app.ID, Request: q.encode(), ReturnTo: continuePath,
		Subject: q.Subject, LoginHint: q.LoginHint, Locales: q.Locales, Reauthenticate: q.Login, MaxAge: q.maxAge(),
		RequireMFA:    q.RequireMFA,
		ConsentScopes: q.consentScopes(app), ForceConsent: q.Consent,
	}
}

// missing returns the error code of a request that needs a step before it can be answered, if no
// page may be shown for it (OpenID Connect Core §3.1.2.6). It is "" for a request that needs none.
func missing(step signin.Step) string {
	switch step {
	case signin.Done:
		return ""
	case signin.Refuse: // the pages say so; signing in again would not help
		return codeAccessDenied
	case signin.AskConsent:
		return codeConsentRequired
	case signin.AskPassword, signin.AskEmail, signin.AskTOTP, signin.EnrolTOTP, signin.StartSession, signin.AskSignOut:
	}
	return codeLoginRequired
}

// encode returns the form of the request that the sign-in flow stores.
func (q *request) encode() []byte {
	b, err := json.Marshal(q)
	if err != nil { // texts, numbers and lists only
		panic("oidc: " + err.Error())
	}
	return b
}

func decodeRequest(b []byte) (request, error) {
	var q request
	err := json.Unmarshal(b, &q)
	return q, err
}
