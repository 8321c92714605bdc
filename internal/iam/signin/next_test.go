package signin

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func TestNext(t *testing.T) {
	u, s := id.New(), id.New()
	pwd, both := []string{Password}, []string{Password, OTP}
	tests := []struct {
		name   string
		flow   Flow
		policy Policy
		want   Step
	}{
		{"nobody yet", Flow{Kind: Authorize}, Policy{}, AskPassword},
		{"known, nothing proved", Flow{Kind: Authorize, User: u}, Policy{}, AskPassword},
		{"a code alone proves nothing", Flow{Kind: Authorize, User: u, AMR: []string{OTP}}, Policy{}, AskPassword},
		{"a session without proof proves nothing", Flow{Kind: Authorize, User: u, Session: s}, Policy{}, AskPassword},
		{"password is enough", Flow{Kind: Authorize, User: u, AMR: pwd}, Policy{}, StartSession},
		{"address not confirmed", Flow{Kind: Authorize, User: u, AMR: pwd}, Policy{VerifyEmail: true}, AskEmail},
		{"address confirmed", Flow{Kind: Authorize, User: u, AMR: pwd}, Policy{VerifyEmail: true, EmailVerified: true}, StartSession},
		{"has an authenticator app", Flow{Kind: Authorize, User: u, AMR: pwd}, Policy{HasTOTP: true}, AskTOTP},
		{"tenant wants two, has none", Flow{Kind: Authorize, User: u, AMR: pwd}, Policy{RequireMFA: true}, EnrolTOTP},
		{"application wants two, has one", Flow{Kind: Authorize, User: u, AMR: pwd, RequireMFA: true}, Policy{HasTOTP: true}, AskTOTP},
		{"step up from a session with one factor", Flow{Kind: Authorize, User: u, AMR: pwd, Session: s, RequireMFA: true}, Policy{HasTOTP: true}, AskTOTP},
		{"both proved", Flow{Kind: Authorize, User: u, AMR: both}, Policy{HasTOTP: true}, StartSession},
		{"signed in", Flow{Kind: Authorize, User: u, AMR: pwd, Session: s}, Policy{}, Done},
		{"consent", Flow{Kind: Authorize, User: u, AMR: pwd, Session: s, ConsentScopes: []string{"a", "b"}}, Policy{Allowed: []string{"a"}}, AskConsent},
		{"allowed before", Flow{Kind: Authorize, User: u, AMR: pwd, Session: s, ConsentScopes: []string{"a"}}, Policy{Allowed: []string{"a"}}, Done},
		{"allowed before, asked again", Flow{Kind: Authorize, User: u, AMR: pwd, Session: s, ConsentScopes: []string{"a"}, ForceConsent: true}, Policy{Allowed: []string{"a"}}, AskConsent},
		{"allowed now", Flow{Kind: Authorize, User: u, AMR: pwd, Session: s, ConsentScopes: []string{"a"}, Consented: true}, Policy{}, Done},
		{"may not sign in", Flow{Kind: Authorize, User: u, AMR: both, Session: s}, Policy{Refused: true}, Refuse},
		{"may not sign in, and is told so only with the password", Flow{Kind: Authorize, User: u}, Policy{Refused: true}, AskPassword},
		{"may not sign in, has not confirmed", Flow{Kind: Account, User: u, AMR: pwd}, Policy{Refused: true, VerifyEmail: true}, Refuse},
		{"may not set up a second factor", Flow{Kind: Account, User: u, AMR: pwd}, Policy{RequireMFA: true, NoEnrolment: true}, Refuse},
		{"has set one up already", Flow{Kind: Account, User: u, AMR: pwd}, Policy{RequireMFA: true, HasTOTP: true, NoEnrolment: true}, AskTOTP},
		{"may not sign in, but out", Flow{Kind: SignOut, User: u, Session: s}, Policy{Refused: true}, AskSignOut},
		{"said no", Flow{Kind: Authorize, Denied: true}, Policy{RequireMFA: true}, Done},
		{"account", Flow{Kind: Account, User: u, AMR: pwd, Session: s, ConsentScopes: []string{"a"}}, Policy{}, Done},
		{"sign-out", Flow{Kind: SignOut, Session: s, User: u}, Policy{RequireMFA: true}, AskSignOut},
		{"sign-out confirmed", Flow{Kind: SignOut, SignedOut: true}, Policy{}, Done},
		{"signed-out mark on another kind", Flow{Kind: Authorize, SignedOut: true}, Policy{}, AskPassword},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Next(tt.flow, tt.policy); got != tt.want {
				t.Errorf("Next = %q, want %q", got, tt.want)
			}
		})
	}
}

// every calls fn with every combination of the values that Next can tell apart.
func every(fn func(Flow, Policy)) {
	const bits = 18
	u, s := id.New(), id.New()
	for n := range 1 << bits {
		b := func(i int) bool { return n>>i&1 == 1 }
		for _, kind := range []Kind{Authorize, Account, SignOut} {
			f := Flow{Kind: kind, RequireMFA: b(0), ForceConsent: b(1), Consented: b(2), Denied: b(3), SignedOut: b(4)}
			if b(5) {
				f.User = u
			}
			if b(6) {
				f.Session = s
			}
			if b(7) {
				f.AMR = append(f.AMR, Password)
			}
			if b(8) {
				f.AMR = append(f.AMR, OTP)
			}
			if b(9) {
				f.ConsentScopes = []string{"openid", "email"}
			}
			p := Policy{RequireMFA: b(10), VerifyEmail: b(11), EmailVerified: b(12), HasTOTP: b(13), Refused: b(16), NoEnrolment: b(17)}
			if b(14) {
				p.Allowed = append(p.Allowed, "openid")
			}
			if b(15) {
				p.Allowed = append(p.Allowed, "email")
			}
			fn(f, p)
		}
	}
}

func TestDoneNeedsEverything(t *testing.T) {
	every(func(f Flow, p Policy) {
		step := Next(f, p)
		if step != Done && step != AskConsent && step != StartSession || f.Denied || f.Kind == SignOut {
			return
		}
		has := func(m string) bool { return slices.Contains(f.AMR, m) }
		if f.User.IsZero() || !has(Password) {
			t.Fatalf("%s without a password: %+v %+v", step, f, p)
		}
		if p.Refused {
			t.Fatalf("%s for somebody who may not sign in: %+v %+v", step, f, p)
		}
		if p.VerifyEmail && !p.EmailVerified {
			t.Fatalf("%s without a confirmed address: %+v %+v", step, f, p)
		}
		if (f.RequireMFA || p.RequireMFA || p.HasTOTP) && !has(OTP) {
			t.Fatalf("%s without the second factor: %+v %+v", step, f, p)
		}
		if step == StartSession {
			return
		}
		if f.Session.IsZero() {
			t.Fatalf("%s without a session: %+v %+v", step, f, p)
		}
		if step == AskConsent || f.Kind != Authorize || f.Consented {
			return
		}
		if f.ForceConsent && len(f.ConsentScopes) > 0 || len(f.Missing(p)) > 0 {
			t.Fatalf("done without consent: %+v %+v", f, p)
		}
	})
}

// A second factor can be enrolled by somebody who has proved the password, never
// by one who has an authenticator app already: that would be a way round it.
func TestEnrolmentIsNoWayRound(t *testing.T) {
	every(func(f Flow, p Policy) {
		if Next(f, p) == EnrolTOTP && (p.HasTOTP || p.NoEnrolment || p.Refused || !slices.Contains(f.AMR, Password)) {
			t.Fatalf("enrolment offered: %+v %+v", f, p)
		}
	})
}

// Following Next from any state reaches Done, and never asks the same thing twice.
func TestNextTerminates(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	u, s := id.New(), id.New()
	every(func(f Flow, p Policy) {
		seen := map[Step]bool{}
		for step := Next(f, p); step != Done; step = Next(f, p) {
			if seen[step] {
				t.Fatalf("%s comes round again: %+v %+v", step, f, p)
			}
			seen[step] = true
			switch step {
			case AskPassword:
				f.Prove(u, Password, now)
			case Refuse:
				f.Denied = true
			case AskEmail:
				p.EmailVerified = true
			case AskTOTP:
				f.Prove(f.User, OTP, now)
			case EnrolTOTP:
				p.HasTOTP = true
				f.Prove(f.User, OTP, now)
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
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, b := id.New(), id.New()
	f := Flow{User: a, AMR: []string{Password, OTP}, Session: id.New(), Consented: true}
	f.Prove(b, Password, now)
	if f.User != b || !slices.Equal(f.AMR, []string{Password}) || !f.Session.IsZero() || f.Consented {
		t.Errorf("another person inherits what was proved: %+v", f)
	}
	f.Prove(b, OTP, now)
	if got, want := f.Methods(), []string{Password, OTP, MFA}; !slices.Equal(got, want) {
		t.Errorf("Methods = %v, want %v", got, want)
	}
}

func TestFresh(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	d := func(d time.Duration) *time.Duration { return &d }
	tests := []struct {
		name   string
		age    time.Duration
		reauth bool
		max    *time.Duration
		want   bool
	}{
		{"no limit", 99 * time.Hour, false, nil, true},
		{"prompt=login", 0, true, nil, false},
		{"max_age=0", 0, false, d(0), false},
		{"young enough", time.Minute, false, d(time.Minute), true},
		{"too old", time.Minute + 1, false, d(time.Minute), false},
	}
	for _, tt := range tests {
		if got := Fresh(now.Add(-tt.age), now, tt.reauth, tt.max); got != tt.want {
			t.Errorf("%s: Fresh = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestBegin(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, p := range []string{"", "account", "//evil.example", "https://evil.example", "/\\evil.example", "/a?b=c", "/a#b", "/a/../b", "/a//b", "/a\nb", "/a/.."} {
		if _, err := begin(New{Kind: Account, Browser: "b", ReturnTo: p}, now); err == nil {
			t.Errorf("begin accepts to return to %q", p)
		}
	}
	credit := &Credit{Session: id.New(), User: id.New(), AMR: []string{Password}, AuthTime: now.Add(-time.Hour)}
	f, err := begin(New{Kind: Authorize, Browser: "b", ReturnTo: "/oauth2/authorize/continue", Credit: credit}, now)
	if err != nil {
		t.Fatal(err)
	}
	if f.Session != credit.Session || f.User != credit.User || len(f.AMR) != 1 {
		t.Errorf("the session is not credited: %+v", f)
	}
	if got, want := f.Return(), "/oauth2/authorize/continue?flow="+f.ID.String(); got != want {
		t.Errorf("Return = %q, want %q", got, want)
	}
	f, err = begin(New{Kind: Authorize, Browser: "b", ReturnTo: "/x", Reauthenticate: true, Credit: credit}, now)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Session.IsZero() || len(f.AMR) != 0 || f.User != credit.User {
		t.Errorf("prompt=login credits the session: %+v", f)
	}
}
