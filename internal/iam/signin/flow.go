package signin

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Lifetime is how long a flow can be finished after it began: long enough to fetch a mail.
const Lifetime = time.Hour

// recent is the maximum age of a proof with which a person may change how they sign in. A stranger
// who finds an open browser later must prove the password and the second factor first.
const recent = 10 * time.Minute

// Kind is the purpose of a flow.
type Kind string

// The kinds of flow.
const (
	Authorize Kind = "authorize" // an application asked who this is (OpenID Connect Core §3.1.2)
	Account   Kind = "account"   // the person goes to our own account pages
	Console   Kind = "console"   // the person goes to the admin console
	Device    Kind = "device"    // a device without a browser asks for access (RFC 8628 §3.3)
	SignOut   Kind = "signout"   // an application asked to sign out (RP-Initiated Logout §2)
)

// Demand is what a flow was begun for. It never changes. Kind and ReturnTo are required.
type Demand struct {
	Kind        Kind   `json:"kind"`
	Application id.ID  `json:"application"` // zero for Account
	Request     []byte `json:"request"`     // the door's own validated request; opaque here
	ReturnTo    string `json:"return_to"`   // a path below the tenant's base; see Return

	Subject        string         `json:"subject"` // only this user's session counts; "" for any
	LoginHint      string         `json:"login_hint"`
	Locales        []string       `json:"locales"`          // ui_locales, best first
	Reauthenticate bool           `json:"reauthenticate"`   // prompt=login: an existing session proves nothing
	MaxAge         *time.Duration `json:"max_age"`          // nil: any age will do; zero is not nil
	ForCredentials bool           `json:"for_credentials"`  // to change how one signs in: needs a recent proof
	RequireMFA     bool           `json:"require_mfa"`      // by acr_values, beyond what the tenant asks
	ConsentScopes  []string       `json:"consent_scopes"`   // scopes the person must allow; empty: no consent page
	ForceConsent   bool           `json:"force_consent"`    // prompt=consent: ask again for allowed scopes
	PostLogoutName string         `json:"post_logout_name"` // SignOut: the application's name, for the page
}

// Flow is one sign-in or sign-out in progress. Its Demand is fixed; steps change the rest.
type Flow struct {
	ID id.ID `json:"-"`
	Demand

	User       id.ID   `json:"user"`       // who it is about; proved only as far as Proofs say
	Proofs     []Proof `json:"proofs"`     // what has been proved, in order
	Session    id.ID   `json:"session"`    // the session this flow started or was credited with
	Consented  bool    `json:"consented"`  // the person allowed ConsentScopes in this flow
	Denied     bool    `json:"denied"`     // the person said no: the application gets access_denied
	Refused    bool    `json:"refused"`    // the policies refused the person, and that was recorded
	SignedOut  bool    `json:"signed_out"` // SignOut: confirmed
	Registered id.ID   `json:"registered"` // an account created in this flow, its address unconfirmed
	Declined   bool    `json:"declined"`   // the person is not the session's ("Not you?")

	CreatedAt time.Time `json:"-"`
	ExpiresAt time.Time `json:"-"`
	Version   int64     `json:"-"` // counts saves, from 1; 0 for a flow that is not stored
}

// Limits on what a stranger can make us keep in a flow.
const (
	maxRequest = 32 << 10
	maxHint    = 320
	maxScopes  = 64
	maxLocales = 16
)

// newFlow returns the unsaved flow for d, credited with the browser's session on (nil for none).
// The session counts as far as Reauthenticate and MaxAge let it. Otherwise it only tells whom to
// ask for a password.
func newFlow(d Demand, on *session.Session, now time.Time) (Flow, error) {
	switch d.Kind {
	case Authorize, Account, Console, Device, SignOut:
	default:
		return Flow{}, fault.New(fault.Internal, "signin.kind", "A flow of kind %q cannot be begun.", d.Kind)
	}
	if !localPath(d.ReturnTo) {
		return Flow{}, fault.New(fault.Internal, "signin.return_to",
			"A flow returns to a path below the tenant's base, not to %q.", d.ReturnTo)
	}
	if len(d.Request) > maxRequest || len(d.ConsentScopes) > maxScopes {
		return Flow{}, fault.New(fault.Invalid, "signin.too_large",
			"The request is too large. Ask for fewer scopes or claims.")
	}
	if len(d.LoginHint) > maxHint {
		d.LoginHint = "" // a hint only; no address is this long
	}
	if len(d.Locales) > maxLocales {
		d.Locales = d.Locales[:maxLocales]
	}
	f := Flow{ID: id.New(), Demand: d, CreatedAt: now, ExpiresAt: now.Add(Lifetime)}
	if on != nil {
		f.User = on.User
		f.credit(*on, now)
	}
	return f, nil
}

// credit credits the flow with the session on, and reports whether it counts.
func (f *Flow) credit(on session.Session, now time.Time) bool {
	if !f.accepts(on, now) {
		return false
	}
	f.User, f.Session, f.Proofs = on.User, on.ID, nil
	for _, m := range withReferences(on.AMR) {
		// readFacts binds the proof to the credential's current version: a credential that is
		// replaced begins a new generation, unless the owner wants to stay signed in elsewhere.
		f.Proofs = append(f.Proofs, Proof{Method: m.Name, At: on.AuthTime, Generation: on.Generation, unbound: true})
	}
	return true
}

// accepts reports whether a session still counts at now for what the demand asks (OpenID Connect
// Core §3.1.2.1, prompt and max_age). max_age=0 means that nothing earlier than the request counts.
func (d Demand) accepts(on session.Session, now time.Time) bool {
	age := now.Sub(on.AuthTime)
	switch {
	case d.Reauthenticate, d.Subject != "" && d.Subject != on.User.String():
		return false
	case d.ForCredentials && age > recent:
		return false
	}
	return d.MaxAge == nil || *d.MaxAge > 0 && age <= *d.MaxAge
}

// Return is where the browser goes when the flow is done, below the tenant's base. A door that
// finishes the flow itself gets the flow's id in the query.
func (f Flow) Return() string {
	if f.Kind == Account {
		return f.ReturnTo
	}
	return f.ReturnTo + "?flow=" + f.ID.String()
}

// prove records that u, as read before the check, has proved m at now. A session from before is
// dropped from the flow: it no longer describes what is known, and a new one starts once all is
// proved. Proving another person than the flow was about starts over.
func (f *Flow) prove(u user.User, m *Method, now time.Time) {
	if f.User != u.ID {
		f.forget()
		f.User = u.ID
	}
	p := Proof{Method: m.Name, At: now, Generation: u.Generation, unbound: true}
	proofs := slices.Clone(f.Proofs) // an earlier reading of the flow may share the array
	if i := slices.IndexFunc(proofs, func(q Proof) bool { return q.Method == p.Method }); i >= 0 {
		proofs[i] = p
	} else {
		proofs = append(proofs, p)
	}
	f.Proofs, f.Session = proofs, id.ID{}
}

// forget drops who this is about and all that was proved ("Not you?").
func (f *Flow) forget() {
	f.User, f.Proofs, f.Session, f.Registered = id.ID{}, nil, id.ID{}, id.ID{}
	f.Consented, f.Refused, f.LoginHint = false, false, ""
}

// bindProofs gives new proofs the version of the user's credentials, and drops the proofs that
// were made with another version: after a reset, the old password proves nothing. It also drops
// those of an earlier generation, from before the address changed, or from before signedOut. A
// proof of the version before counts if its credential has not been replaced since.
func (f *Flow) bindProofs(u user.User, has credential.Summary, signedOut time.Time) {
	email, _ := user.EmailKey(u.Email)
	var kept []Proof
	for _, p := range f.Proofs {
		m := p.method()
		if m == nil {
			continue
		}
		version := m.Version(has)
		if p.unbound {
			p.Version, p.Email, p.unbound = version, email, false
		}
		if p.unversioned && !version.IsZero() && !version.After(p.At) {
			p.Version, p.Generation, p.Email, p.unversioned = version, u.Generation, email, false
		}
		if !p.unversioned && p.Version.Equal(version) && p.Generation == u.Generation && p.Email == email &&
			p.At.After(signedOut) {
			kept = append(kept, p)
		}
	}
	f.Proofs = kept
}

// proved returns the methods proved.
func (f Flow) proved() []*Method {
	var out []*Method
	for _, p := range f.Proofs {
		if m := p.method(); m != nil {
			out = append(out, m)
		}
	}
	return out
}

// provedFirst reports whether a method that may begin a sign-in was proved.
func (f Flow) provedFirst() bool {
	return slices.ContainsFunc(f.proved(), func(m *Method) bool { return m.First })
}

// amr returns the references of the methods proved, as an ID token's amr claim has them: with
// "mfa" when there were two factors (RFC 8176 §2).
func (f Flow) amr() []string {
	var amr []string
	for _, m := range f.proved() {
		if !slices.Contains(amr, m.AMR) {
			amr = append(amr, m.AMR)
		}
	}
	if f.acr() == TwoFactors {
		amr = append(amr, multiple)
	}
	return amr
}

// acr returns the class of what was proved.
func (f Flow) acr() string { return levelOf(factorsOf(f.proved())) }

// authTime is when the first factor was proved (OpenID Connect Core §2, auth_time), or zero.
func (f Flow) authTime() time.Time {
	for _, p := range f.Proofs {
		if m := p.method(); m != nil && m.First {
			return p.At
		}
	}
	return time.Time{}
}

// localPath reports whether p is a plain absolute path: no host, no scheme, no
// query, nothing a browser could read as another origin.
func localPath(p string) bool {
	if len(p) > 512 || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
		return false
	}
	for _, r := range p {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case r == '/', r == '-', r == '_', r == '.', r == '~':
		default:
			return false
		}
	}
	return !strings.Contains(p, "/../") && !strings.HasSuffix(p, "/..") && !strings.Contains(p, "//")
}
