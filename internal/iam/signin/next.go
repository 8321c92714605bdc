package signin

import "slices"

// Step is what a flow needs next.
type Step string

// The steps. Each but Done and StartSession is a page.
const (
	AskPassword  Step = "password"      // who is it, and their password
	Refuse       Step = "refuse"        // the person is known, and may not sign in
	AskEmail     Step = "verify-email"  // the address must be confirmed by the mailed link
	AskTOTP      Step = "totp"          // a code of the authenticator app, or a recovery code
	EnrolTOTP    Step = "enrol-totp"    // two factors are required and there is no authenticator app yet
	StartSession Step = "start-session" // everything is proved: start the session in this transaction
	AskConsent   Step = "consent"       // the application wants scopes the person has not allowed
	AskSignOut   Step = "signout"       // confirm signing out
	Done         Step = "done"          // go to Flow.Return
)

// Next returns the step that comes next for f given facts. It is pure, and the only
// place where the order of steps is written down.
//
// Done is reached in three ways only. The person said no, or went back refused. A sign-out was
// confirmed. Or a session exists, the policies let the person in, and every scope that needs
// consent has it. Such a session started after every factor was proved that the policies, the
// application and the account ask for.
func Next(f Flow, facts Facts) Step {
	switch {
	case f.Denied:
		return Done
	case f.Kind == SignOut && f.SignedOut:
		return Done
	case f.Kind == SignOut:
		return AskSignOut
	case f.User.IsZero() || !f.provedFirst():
		return AskPassword
	case facts.Verdict.Refused:
		return Refuse
	case facts.AddressUnconfirmed:
		return AskEmail
	}
	ask, acr := facts.secondStep(), f.acr()
	if !facts.Verdict.satisfied(acr) || acr != TwoFactors && (ask != "" || f.RequireMFA) {
		switch {
		case ask != "":
			return ask
		case facts.Verdict.NoEnrolment:
			return Refuse
		case facts.StaleProof: // an open browser is not enough to set up a factor
			return AskPassword
		}
		return EnrolTOTP
	}
	switch {
	case f.Session.IsZero():
		return StartSession
	case needsConsent(f, facts):
		return AskConsent
	}
	return Done
}

// secondStep returns the step that asks for the user's second factor, or "" for a user without
// one. A second factor that a person has set up is always asked for, even if nothing requires
// it. Otherwise it would protect nothing.
func (f Facts) secondStep() Step {
	for _, m := range methods {
		if m.Second != "" && !m.Version(f.Credentials).IsZero() {
			return m.Second
		}
	}
	return ""
}

// needsConsent reports whether the person has to allow something. Access for a device is asked
// for each time, whatever it is for: another person may have started the request.
func needsConsent(f Flow, facts Facts) bool {
	if f.Kind == Device {
		return !f.Consented
	}
	if f.Kind != Authorize || f.Consented {
		return false
	}
	return slices.ContainsFunc(f.ConsentScopes, func(scope string) bool {
		return f.ForceConsent || !slices.Contains(facts.Allowed, scope)
	})
}
