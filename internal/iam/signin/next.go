package signin

import "slices"

// Policy is what Next has to know besides the flow: what the policies say (Judge) and
// what is true of the flow's user at this moment. It is zero while the flow has no user.
type Policy struct {
	Refused       bool     // the policies say that the user may not sign in
	RequireMFA    bool     // the policies want two factors
	NoEnrolment   bool     // the policies let nobody set up a second factor on the way
	VerifyEmail   bool     // the tenant wants a confirmed address before the first sign-in
	EmailVerified bool     // the user's address is confirmed
	HasTOTP       bool     // the user has a confirmed authenticator app
	Allowed       []string // scopes the user has allowed this application before
}

// Step is what a flow needs next.
type Step string

// The steps. Each but Done and StartSession is a page.
const (
	AskPassword  Step = "password"      // who is it, and their password
	Refuse       Step = "refuse"        // it is known who it is, and they may not sign in
	AskEmail     Step = "verify-email"  // the address must be confirmed by the mailed link
	AskTOTP      Step = "totp"          // a code of the authenticator app, or a recovery code
	EnrolTOTP    Step = "enrol-totp"    // two factors are required and there is no authenticator app yet
	StartSession Step = "start-session" // everything is proved: start the session in this same transaction
	AskConsent   Step = "consent"       // the application wants scopes the person has not allowed
	AskSignOut   Step = "signout"       // confirm signing out
	Done         Step = "done"          // go to Flow.Return
)

// Next returns the step that comes next for f under p. It is pure, and the only
// place where the order of steps is written down.
//
// Done is reached in three ways only: the person said no, or went back refused; a
// sign-out was confirmed; or a session exists that was started after every factor the policies,
// the application and the account ask for was proved, the policies let the person in, and
// every scope that needs consent has it.
func Next(f Flow, p Policy) Step {
	switch {
	case f.Denied:
		return Done
	case f.Kind == SignOut && f.SignedOut:
		return Done
	case f.Kind == SignOut:
		return AskSignOut
	case f.User.IsZero() || !slices.Contains(f.AMR, Password):
		return AskPassword
	case p.Refused:
		return Refuse
	case p.VerifyEmail && !p.EmailVerified:
		return AskEmail
	case needsSecond(f, p) && !slices.Contains(f.AMR, OTP):
		switch {
		case p.HasTOTP:
			return AskTOTP
		case p.NoEnrolment:
			return Refuse
		}
		return EnrolTOTP
	case f.Session.IsZero():
		return StartSession
	case needsConsent(f, p):
		return AskConsent
	}
	return Done
}

// needsSecond: an authenticator app that a person has set up is always asked
// for, whoever requires it or not; else it would protect nothing.
func needsSecond(f Flow, p Policy) bool { return f.RequireMFA || p.RequireMFA || p.HasTOTP }

func needsConsent(f Flow, p Policy) bool {
	if f.Kind != Authorize || f.Consented {
		return false
	}
	if f.ForceConsent {
		return len(f.ConsentScopes) > 0
	}
	return len(f.Missing(p)) > 0
}

// Missing returns the scopes of f that its user has not allowed before, in the
// order asked.
func (f Flow) Missing(p Policy) []string {
	var m []string
	for _, s := range f.ConsentScopes {
		if !slices.Contains(p.Allowed, s) {
			m = append(m, s)
		}
	}
	return m
}
