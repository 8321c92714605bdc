package signin

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// changed is when the credentials of the tables' user were last replaced.
var changed = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// proofs returns a proof for each method.
func proofs(used ...*Method) []Proof {
	var out []Proof
	for _, m := range used {
		out = append(out, Proof{Method: m.Name, At: changed, Version: changed})
	}
	return out
}

func TestNext(t *testing.T) {
	u, s := id.New(), id.New()
	pwd, both := proofs(Password), proofs(Password, TOTP)
	none, hasTOTP := Facts{}, Facts{Credentials: credential.Summary{TOTPSince: changed}}
	refused, two, noEnrolment := Verdict{Refused: true}, Verdict{SecondFactor: true},
		Verdict{SecondFactor: true, NoEnrolment: true}
	account, signOut := Demand{Kind: Account}, Demand{Kind: SignOut}
	authorize, stepUp := Demand{Kind: Authorize}, Demand{Kind: Authorize, RequireMFA: true}
	asks := Demand{Kind: Authorize, ConsentScopes: []string{"a", "b"}}
	again := Demand{Kind: Authorize, ConsentScopes: []string{"a", "b"}, ForceConsent: true}
	tests := []struct {
		name  string
		flow  Flow
		facts Facts
		want  Step
	}{
		{"no user yet", Flow{Demand: authorize}, none, AskPassword},
		{"known, nothing proved", Flow{Demand: authorize, User: u}, none, AskPassword},
		{"a code alone proves nothing", Flow{Demand: authorize, User: u, Proofs: proofs(TOTP)}, none, AskPassword},
		{"an unknown method proves nothing", Flow{Demand: authorize, User: u, Proofs: []Proof{{Method: "telepathy"}}},
			none, AskPassword},
		{"a session without proof proves nothing", Flow{Demand: authorize, User: u, Session: s}, none, AskPassword},
		{"password is enough", Flow{Demand: authorize, User: u, Proofs: pwd}, none, StartSession},
		{"address not confirmed", Flow{Demand: authorize, User: u, Proofs: pwd}, Facts{AddressUnconfirmed: true},
			AskEmail},
		{"has an authenticator app", Flow{Demand: authorize, User: u, Proofs: pwd}, hasTOTP, AskTOTP},
		{"policies want two, has none", Flow{Demand: authorize, User: u, Proofs: pwd}, Facts{Verdict: two}, EnrolTOTP},
		{"has none, and proved the password long ago", Flow{Demand: authorize, User: u, Proofs: pwd},
			Facts{Verdict: two, StaleProof: true}, AskPassword},
		{"proved long ago, and needs no more", Flow{Demand: authorize, User: u, Proofs: pwd, Session: s},
			Facts{StaleProof: true}, Done},
		{"application wants two, has none", Flow{Demand: stepUp, User: u, Proofs: pwd}, none, EnrolTOTP},
		{"application wants two, has one", Flow{Demand: stepUp, User: u, Proofs: pwd}, hasTOTP, AskTOTP},
		{"step up from a session with one factor", Flow{Demand: stepUp, User: u, Proofs: pwd, Session: s}, hasTOTP,
			AskTOTP},
		{"an app set up since the session started", Flow{Demand: account, User: u, Proofs: pwd, Session: s}, hasTOTP,
			AskTOTP},
		{"both proved", Flow{Demand: authorize, User: u, Proofs: both}, hasTOTP, StartSession},
		{"a recovery code instead", Flow{Demand: authorize, User: u, Proofs: proofs(Password, Recovery)}, hasTOTP,
			StartSession},
		{"two codes are one factor", Flow{Demand: stepUp, User: u, Proofs: proofs(TOTP, Recovery)}, hasTOTP,
			AskPassword},
		{"signed in", Flow{Demand: authorize, User: u, Proofs: pwd, Session: s}, none, Done},
		{"consent", Flow{Demand: asks, User: u, Proofs: pwd, Session: s}, Facts{Allowed: []string{"a"}}, AskConsent},
		{"allowed before", Flow{Demand: asks, User: u, Proofs: pwd, Session: s}, Facts{Allowed: []string{"b", "a"}},
			Done},
		{"allowed before, asked again", Flow{Demand: again, User: u, Proofs: pwd, Session: s},
			Facts{Allowed: []string{"a", "b"}}, AskConsent},
		{"allowed now", Flow{Demand: asks, User: u, Proofs: pwd, Session: s, Consented: true}, none, Done},
		{"may not sign in", Flow{Demand: authorize, User: u, Proofs: both, Session: s}, Facts{Verdict: refused},
			Refuse},
		{"may not sign in, and is told so only with the password", Flow{Demand: authorize, User: u},
			Facts{Verdict: refused}, AskPassword},
		{"may not sign in, has not confirmed", Flow{Demand: account, User: u, Proofs: pwd},
			Facts{Verdict: refused, AddressUnconfirmed: true}, Refuse},
		{"may not set up a second factor", Flow{Demand: account, User: u, Proofs: pwd}, Facts{Verdict: noEnrolment},
			Refuse},
		{"has set one up already", Flow{Demand: account, User: u, Proofs: pwd},
			Facts{Verdict: noEnrolment, Credentials: hasTOTP.Credentials}, AskTOTP},
		{"may not sign in, but out", Flow{Demand: signOut, User: u, Session: s}, Facts{Verdict: refused}, AskSignOut},
		{"said no", Flow{Demand: authorize, Denied: true}, Facts{Verdict: two}, Done},
		{"account", Flow{Demand: Demand{Kind: Account, ConsentScopes: []string{"a"}}, User: u, Proofs: pwd, Session: s},
			none, Done},
		{"sign-out", Flow{Demand: signOut, Session: s, User: u}, Facts{Verdict: two}, AskSignOut},
		{"sign-out confirmed", Flow{Demand: signOut, SignedOut: true}, none, Done},
		{"signed-out mark on another kind", Flow{Demand: authorize, SignedOut: true}, none, AskPassword},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Next(tt.flow, tt.facts); got != tt.want {
				t.Errorf("Next = %q, want %q", got, tt.want)
			}
		})
	}
}

// every calls fn with every combination of the values that Next can tell apart.
func every(fn func(Flow, Facts)) {
	const bits = 19
	u, s := id.New(), id.New()
	for n := range 1 << bits {
		b := func(i int) bool { return n>>i&1 == 1 }
		for _, kind := range []Kind{Authorize, Account, SignOut} {
			f := Flow{Demand: Demand{Kind: kind, RequireMFA: b(0), ForceConsent: b(1)}, Consented: b(2), Denied: b(3),
				SignedOut: b(4)}
			if b(5) {
				f.User = u
			}
			if b(6) {
				f.Session = s
			}
			for i, m := range methods {
				if b(7 + i) {
					f.Proofs = append(f.Proofs, proofs(m)...)
				}
			}
			if b(10) {
				f.ConsentScopes = []string{"openid", "email"}
			}
			facts := Facts{AddressUnconfirmed: b(11),
				Verdict: Verdict{SecondFactor: b(12), Refused: b(13), NoEnrolment: b(14)}}
			if b(15) {
				facts.Credentials.TOTPSince = changed
			}
			if b(16) {
				facts.Allowed = append(facts.Allowed, "openid")
			}
			if b(17) {
				facts.Allowed = append(facts.Allowed, "email")
			}
			facts.StaleProof = b(18)
			fn(f, facts)
		}
	}
}

func TestDoneNeedsEverything(t *testing.T) {
	every(func(f Flow, facts Facts) {
		step := Next(f, facts)
		if step != Done && step != AskConsent && step != StartSession || f.Denied || f.Kind == SignOut {
			return
		}
		has := func(names ...string) bool {
			return slices.ContainsFunc(f.Proofs, func(p Proof) bool { return slices.Contains(names, p.Method) })
		}
		if f.User.IsZero() || !has("password") {
			t.Fatalf("%s without a password: %+v %+v", step, f, facts)
		}
		if facts.Verdict.Refused {
			t.Fatalf("%s for a person who may not sign in: %+v %+v", step, f, facts)
		}
		if facts.AddressUnconfirmed {
			t.Fatalf("%s without a confirmed address: %+v %+v", step, f, facts)
		}
		if (f.RequireMFA || facts.Verdict.SecondFactor || !facts.Credentials.TOTPSince.IsZero()) &&
			!has("totp", "recovery") {
			t.Fatalf("%s without the second factor: %+v %+v", step, f, facts)
		}
		if step == StartSession {
			return
		}
		if f.Session.IsZero() {
			t.Fatalf("%s without a session: %+v %+v", step, f, facts)
		}
		if step == AskConsent || f.Kind != Authorize || f.Consented {
			return
		}
		if len(f.ConsentScopes) > 0 && (f.ForceConsent || len(facts.Allowed) < 2) {
			t.Fatalf("done without consent: %+v %+v", f, facts)
		}
	})
}

// A second factor can be enrolled by a person who has proved the password, never
// by one who has an authenticator app already: that would be a way round it.
func TestEnrolmentIsNoWayRound(t *testing.T) {
	every(func(f Flow, facts Facts) {
		v := facts.Verdict
		if Next(f, facts) == EnrolTOTP &&
			(!facts.Credentials.TOTPSince.IsZero() || v.NoEnrolment || v.Refused || facts.StaleProof ||
				!f.provedFirst()) {
			t.Fatalf("enrolment offered: %+v %+v", f, facts)
		}
	})
}

// Following Next from any state reaches Done, and never asks the same thing twice.
func TestNextTerminates(t *testing.T) {
	u, s := id.New(), id.New()
	every(func(f Flow, facts Facts) {
		seen := map[Step]bool{}
		for step := Next(f, facts); step != Done; step = Next(f, facts) {
			if seen[step] {
				t.Fatalf("%s comes round again: %+v %+v", step, f, facts)
			}
			seen[step] = true
			switch step {
			case AskPassword:
				f.prove(user.User{ID: u}, Password, changed)
				facts.StaleProof = false
			case Refuse:
				f.Denied = true
			case AskEmail:
				facts.AddressUnconfirmed = false
			case AskTOTP:
				f.prove(user.User{ID: f.User}, TOTP, changed)
			case EnrolTOTP:
				facts.Credentials.TOTPSince = changed
				f.prove(user.User{ID: f.User}, TOTP, changed)
			case StartSession:
				f.Session = s
			case AskConsent:
				f.Consented = true
			case AskSignOut:
				f.SignedOut = true
			}
		}
	})
}

func TestProve(t *testing.T) {
	a, b := id.New(), id.New()
	f := Flow{User: a, Proofs: proofs(Password, TOTP), Session: id.New(), Consented: true}
	before := f
	f.prove(user.User{ID: b}, Password, changed)
	if f.User != b || !slices.Equal(f.amr(), []string{"pwd"}) || !f.Session.IsZero() || f.Consented {
		t.Errorf("another person inherits what was proved: %+v", f)
	}
	f.prove(user.User{ID: b}, Recovery, changed)
	f.prove(user.User{ID: b}, TOTP, changed)
	if got, want := f.amr(), []string{"pwd", "otp", "mfa"}; !slices.Equal(got, want) || f.acr() != TwoFactors {
		t.Errorf("AMR = %v, ACR = %s, want %v", got, f.acr(), want)
	}
	later := changed.Add(time.Hour)
	if f.prove(user.User{ID: b}, Password, later); !f.authTime().Equal(later) || len(f.Proofs) != 3 {
		t.Errorf("proved again: %+v", f)
	}
	if before.prove(user.User{ID: a}, TOTP, later); before.Proofs[1].At != later {
		t.Errorf("%+v", before)
	}
}

// A reading of a flow can be used for several tries of one transaction.
func TestProveLeavesACopyAlone(t *testing.T) {
	a := id.New()
	read := Flow{User: a, Proofs: proofs(Password)}
	try := read
	try.prove(user.User{ID: a}, Password, changed.Add(time.Hour))
	if !read.Proofs[0].At.Equal(changed) {
		t.Error("a try changed what was read")
	}
}

// A proof is worth nothing once its credential was replaced or removed.
func TestProofsAreBoundToTheirCredential(t *testing.T) {
	u, later := id.New(), changed.Add(time.Second)
	now := credential.Summary{PasswordChangedAt: changed, TOTPSince: changed}
	f := Flow{User: u}
	f.prove(user.User{ID: u}, Password, later)
	f.prove(user.User{ID: u}, TOTP, later)
	f.bindProofs(user.User{}, now, time.Time{})
	if f.acr() != TwoFactors {
		t.Fatalf("new proofs are dropped: %+v", f)
	}
	for name, tt := range map[string]struct {
		has       credential.Summary
		user      user.User
		signedOut time.Time
		want      []string
	}{
		"unchanged": {has: now, want: []string{"pwd", "otp", "mfa"}},
		"another password": {has: credential.Summary{PasswordChangedAt: later, TOTPSince: changed},
			want: []string{"otp"}},
		"another authenticator": {has: credential.Summary{PasswordChangedAt: changed, TOTPSince: later},
			want: []string{"pwd"}},
		"no authenticator":            {has: credential.Summary{PasswordChangedAt: changed}, want: []string{"pwd"}},
		"nothing":                     {},
		"another generation":          {has: now, user: user.User{Generation: 1}},
		"another address":             {has: now, user: user.User{Profile: user.Profile{Email: "eve@acme.example"}}},
		"a tenant signed out before":  {has: now, signedOut: changed, want: []string{"pwd", "otp", "mfa"}},
		"a tenant signed out since":   {has: now, signedOut: later.Add(time.Second)},
		"a tenant signed out just at": {has: now, signedOut: later},
	} {
		g := f
		if g.bindProofs(tt.user, tt.has, tt.signedOut); !slices.Equal(g.amr(), tt.want) {
			t.Errorf("%s: %v, want %v", name, g.amr(), tt.want)
		}
	}
}

func TestLevelOf(t *testing.T) {
	for _, tt := range []struct {
		amr  []string
		want string
	}{{nil, "aal1"}, {[]string{"pwd"}, "aal1"}, {[]string{"otp"}, "aal1"}, {[]string{"pwd", "otp"}, "aal2"},
		{[]string{"pwd", "otp", "mfa"}, "aal2"}, {[]string{"x"}, "aal1"}} {
		if got := LevelOf(tt.amr); got != tt.want {
			t.Errorf("LevelOf(%v) = %s, want %s", tt.amr, got, tt.want)
		}
	}
}

func TestDemandAccepts(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	on := id.New()
	d := func(d time.Duration) *time.Duration { return &d }
	tests := []struct {
		name string
		age  time.Duration
		d    Demand
		want bool
	}{
		{"no limit", 99 * time.Hour, Demand{}, true},
		{"prompt=login", 0, Demand{Reauthenticate: true}, false},
		{"max_age=0", 0, Demand{MaxAge: d(0)}, false},
		{"young enough", time.Minute, Demand{MaxAge: d(time.Minute)}, true},
		{"too old", time.Minute + 1, Demand{MaxAge: d(time.Minute)}, false},
		{"the user asked for", 0, Demand{Subject: on.String()}, true},
		{"another user", 0, Demand{Subject: id.New().String()}, false},
		{"recent enough for credentials", recent, Demand{ForCredentials: true}, true},
		{"too old for credentials", recent + 1, Demand{ForCredentials: true}, false},
	}
	for _, tt := range tests {
		got := tt.d.accepts(session.Session{User: on, AuthTime: now.Add(-tt.age)}, now)
		if got != tt.want {
			t.Errorf("%s: accepts = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNewFlow(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, p := range []string{"", "account", "//evil.example", "https://evil.example", "/\\evil.example", "/a?b=c", "/a#b", "/a/../b", "/a//b", "/a\nb", "/a/.."} {
		if _, err := newFlow(Demand{Kind: Account, ReturnTo: p}, nil, now); err == nil {
			t.Errorf("newFlow accepts to return to %q", p)
		}
	}
	on := &session.Session{ID: id.New(), User: id.New(), AMR: []string{"pwd"}, AuthTime: now.Add(-time.Hour)}
	f, err := newFlow(Demand{Kind: Authorize, ReturnTo: "/oauth2/authorize/continue"}, on, now)
	if err != nil {
		t.Fatal(err)
	}
	if f.Session != on.ID || f.User != on.User || !slices.Equal(f.amr(), on.AMR) || !f.authTime().Equal(on.AuthTime) {
		t.Errorf("the session is not credited: %+v", f)
	}
	if got, want := f.Return(), "/oauth2/authorize/continue?flow="+f.ID.String(); got != want {
		t.Errorf("Return = %q, want %q", got, want)
	}
	f, err = newFlow(Demand{Kind: Authorize, ReturnTo: "/x", Reauthenticate: true}, on, now)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Session.IsZero() || len(f.Proofs) != 0 || f.User != on.User {
		t.Errorf("prompt=login credits the session: %+v", f)
	}
}
