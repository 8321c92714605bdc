package signin

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Lifetime is how long a flow can be finished after it began. It is long enough
// to fetch a mail on the way.
const Lifetime = time.Hour

// Kind says what a flow is for.
type Kind string

// The kinds of flow.
const (
	Authorize Kind = "authorize" // an application asked who this is (OpenID Connect Core §3.1.2)
	Account   Kind = "account"   // the person goes to our own account pages
	SignOut   Kind = "signout"   // an application asked to sign out (RP-Initiated Logout §2)
)

// Authentication method references (RFC 8176 §2) that steps record.
const (
	Password = "pwd" // a password
	OTP      = "otp" // a one-time code: authenticator app or recovery code
	MFA      = "mfa" // more than one factor
)

// Flow is one sign-in or sign-out on its way. What was asked is set by Begin and
// never changes; what has been proved so far is changed by steps only.
type Flow struct {
	ID          id.ID  `json:"-"`
	Kind        Kind   `json:"kind"`
	Application id.ID  `json:"application"` // zero for Account
	Request     []byte `json:"request"`     // the door's own validated request; nothing here looks inside
	ReturnTo    string `json:"return_to"`   // a path below the tenant's base; see Return

	LoginHint      string         `json:"login_hint"`
	Locales        []string       `json:"locales"`          // ui_locales, best first
	Reauthenticate bool           `json:"reauthenticate"`   // prompt=login: an existing session proves nothing
	MaxAge         *time.Duration `json:"max_age"`          // nil: any age will do; zero is not nil
	RequireMFA     bool           `json:"require_mfa"`      // by acr_values, beyond what the tenant asks
	ConsentScopes  []string       `json:"consent_scopes"`   // scopes the person must allow; empty: no consent page
	ForceConsent   bool           `json:"force_consent"`    // prompt=consent: ask even for what was allowed before
	PostLogoutName string         `json:"post_logout_name"` // SignOut: the application's name, for the page

	User       id.ID     `json:"user"`       // who it is about; proved only as far as AMR says
	AMR        []string  `json:"amr"`        // what has been proved: Password, OTP
	AuthTime   time.Time `json:"auth_time"`  // when the first factor was proved
	Session    id.ID     `json:"session"`    // the session this flow started or was credited with
	Consented  bool      `json:"consented"`  // the person allowed ConsentScopes in this flow
	Denied     bool      `json:"denied"`     // the person said no: the application gets access_denied
	Refused    bool      `json:"refused"`    // the policies did not let the person in, and that was recorded
	SignedOut  bool      `json:"signed_out"` // SignOut: confirmed
	Registered id.ID     `json:"registered"` // an account made in this flow whose address is not confirmed yet

	CreatedAt time.Time `json:"-"`
	ExpiresAt time.Time `json:"-"`
	Version   int64     `json:"-"` // counts saves; guards against two steps at once
}

// Credit is a session that already exists in the browser that begins a flow.
type Credit struct {
	Session, User id.ID
	AMR           []string
	AuthTime      time.Time
}

// New says what a flow is to be. Kind, ReturnTo and Browser are required.
type New struct {
	Kind           Kind
	Browser        string // kit/web's Browser: the secret of the browser that begins
	Application    id.ID
	Request        []byte
	ReturnTo       string
	LoginHint      string
	Locales        []string
	Reauthenticate bool
	MaxAge         *time.Duration
	RequireMFA     bool
	ConsentScopes  []string
	ForceConsent   bool
	PostLogoutName string
	// Credit is the browser's session, if it has one. It counts as far as
	// Reauthenticate and MaxAge let it; otherwise it only says whom to ask for a password.
	Credit *Credit
}

// Limits on what a stranger can make us keep in a flow.
const (
	maxRequest = 32 << 10
	maxHint    = 320
	maxScopes  = 64
	maxLocales = 16
)

// begin makes the flow that n describes, as of now.
func begin(n New, now time.Time) (Flow, error) {
	if n.Kind != Authorize && n.Kind != Account && n.Kind != SignOut {
		return Flow{}, fault.New(fault.Internal, "signin.kind", "A flow of kind %q cannot be begun.", n.Kind)
	}
	if !localPath(n.ReturnTo) {
		return Flow{}, fault.New(fault.Internal, "signin.return_to", "A flow returns to a path below the tenant's base, not to %q.", n.ReturnTo)
	}
	if n.Browser == "" {
		return Flow{}, fault.New(fault.Internal, "signin.browser", "A flow belongs to a browser, but none was given.")
	}
	if len(n.Request) > maxRequest || len(n.ConsentScopes) > maxScopes {
		return Flow{}, fault.New(fault.Invalid, "signin.too_large", "The request is too large. Ask for fewer scopes or claims.")
	}
	if len(n.LoginHint) > maxHint {
		n.LoginHint = "" // a hint only; no address is this long
	}
	if len(n.Locales) > maxLocales {
		n.Locales = n.Locales[:maxLocales]
	}
	f := Flow{
		ID: id.New(), Kind: n.Kind, Application: n.Application, Request: n.Request, ReturnTo: n.ReturnTo,
		LoginHint: n.LoginHint, Locales: n.Locales, Reauthenticate: n.Reauthenticate, MaxAge: n.MaxAge,
		RequireMFA: n.RequireMFA, ConsentScopes: n.ConsentScopes, ForceConsent: n.ForceConsent,
		PostLogoutName: n.PostLogoutName,
		CreatedAt:      now, ExpiresAt: now.Add(Lifetime), Version: 1,
	}
	if c := n.Credit; c != nil {
		f.User = c.User
		if Fresh(c.AuthTime, now, n.Reauthenticate, n.MaxAge) {
			f.Session, f.AMR, f.AuthTime = c.Session, slices.Clone(c.AMR), c.AuthTime
		}
	}
	return f, nil
}

// Fresh reports whether a sign-in at authTime still counts at now for a request
// with these parameters (OpenID Connect Core §3.1.2.1, prompt and max_age).
// max_age=0 means that nothing earlier than the request counts.
func Fresh(authTime, now time.Time, reauthenticate bool, maxAge *time.Duration) bool {
	if reauthenticate {
		return false
	}
	return maxAge == nil || (*maxAge > 0 && now.Sub(authTime) <= *maxAge)
}

// Return is where the browser goes when the flow is done, below the tenant's
// base: ReturnTo, and for a door that has to finish the flow itself its id.
func (f Flow) Return() string {
	if f.Kind == Account {
		return f.ReturnTo
	}
	return f.ReturnTo + "?flow=" + f.ID.String()
}

// Prove records that the person user has proved method at now. A session that
// was there before no longer describes what is known, so it is let go: a new one
// is started once all is proved. Proving another person than the flow was about
// starts over.
func (f *Flow) Prove(user id.ID, method string, now time.Time) {
	if f.User != user {
		f.Forget()
		f.User = user
	}
	if !slices.Contains(f.AMR, method) {
		f.AMR = append(slices.Clone(f.AMR), method)
	}
	if method == Password {
		f.AuthTime = now
	}
	f.Session = id.ID{}
}

// Forget drops who this is about and all that was proved ("Not you?").
func (f *Flow) Forget() {
	f.User, f.AMR, f.AuthTime, f.Session, f.Consented, f.Refused, f.LoginHint, f.Registered = id.ID{}, nil, time.Time{}, id.ID{}, false, false, "", id.ID{}
}

// Methods returns the methods proved, as an ID token's amr claim wants them:
// with "mfa" when there were two factors (RFC 8176 §2).
func (f Flow) Methods() []string {
	m := slices.DeleteFunc(slices.Clone(f.AMR), func(s string) bool { return s == MFA })
	if slices.Contains(m, Password) && slices.Contains(m, OTP) {
		m = append(m, MFA)
	}
	return m
}

// localPath reports whether p is a plain absolute path: no host, no scheme, no
// query, nothing a browser could read as another origin.
func localPath(p string) bool {
	if len(p) > 512 || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
		return false
	}
	for _, r := range p {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '/', r == '-', r == '_', r == '.', r == '~':
		default:
			return false
		}
	}
	return !strings.Contains(p, "/../") && !strings.HasSuffix(p, "/..") && !strings.Contains(p, "//")
}
