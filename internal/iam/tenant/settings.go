package tenant

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// The values of Settings.MFA.
const (
	mfaOptional = "optional" // a user who has a second factor must use it
	MFARequired = "required" // a user without one sets it up at the next sign-in
)

// Settings are what a tenant decides for itself. A setting is declared here and nowhere else: the
// API shows and changes it under its JSON name, and the database stores it under that name.
type Settings struct {
	Registration       bool            `json:"registration" doc:"Whether people may register themselves."`
	VerifyEmail        bool            `json:"verify_email" doc:"Whether a person who registered must confirm the email address before the first sign-in."`
	MFA                string          `json:"mfa" enum:"optional,required" doc:"Whether every user needs a second factor."`
	Accent             string          `json:"accent" pattern:"^#[0-9a-f]{6}$" patternDescription:"a colour such as #2f5bea" doc:"The colour of buttons and links."`
	LogoURL            string          `json:"logo_url" maxLength:"500" doc:"An https address of the logo. Empty: the tenant's initial."`
	Locale             string          `json:"locale" enum:"en,de" doc:"The language of pages and mail for people who have not chosen one."`
	SessionIdleSeconds int64           `json:"session_idle_seconds" minimum:"300" maximum:"7776000" doc:"How many seconds a session lasts without a request."`
	SessionMaxSeconds  int64           `json:"session_max_seconds" minimum:"300" maximum:"31536000" doc:"How many seconds a session lasts at most."`
	PasswordMinLength  int             `json:"password_min_length" minimum:"8" maximum:"128" doc:"The minimum number of characters of a password."`
	UserAttributes     []UserAttribute `json:"user_attributes" maxItems:"100" doc:"Attributes of users that callers other than administrators may change. An attribute that is not listed is for administrators only. A change replaces all of them."`
	SignIn             SignIn          `json:"signin" doc:"Rules on who may sign in, with which factors, and for how long. A change replaces all of them."`
	FailuresPerAddress int             `json:"failures_per_address" minimum:"10" maximum:"100000" doc:"How often signing in may fail at once from one address. One more failure is allowed each minute. Raise it for a school or an office behind one address."`

	RegistrationsPerAddress int `json:"registrations_per_address" minimum:"10" maximum:"100000" doc:"How many people may register at once from one address, ask for mails, and connect devices. One more is allowed each minute."`
}

// SessionIdle returns how long a session lasts without a request.
func (s Settings) SessionIdle() time.Duration {
	return time.Duration(s.SessionIdleSeconds) * time.Second
}

// SessionMax returns how long a session lasts at most.
func (s Settings) SessionMax() time.Duration { return time.Duration(s.SessionMaxSeconds) * time.Second }

// DefaultSettings returns the settings of a new tenant.
func DefaultSettings() Settings {
	return Settings{
		UserAttributes: []UserAttribute{},
		VerifyEmail:    true, MFA: mfaOptional, Accent: "#2f5bea", Locale: "en",
		SessionIdleSeconds: 24 * 60 * 60, SessionMaxSeconds: 7 * 24 * 60 * 60, PasswordMinLength: 10,
		FailuresPerAddress: 60, RegistrationsPerAddress: 60,
	}
}

// parseSettings reads what is stored. A setting that an older version did not know has its default.
func parseSettings(text string) (Settings, error) {
	s := DefaultSettings()
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	return s, nil
}

func (s Settings) text() string {
	b, _ := json.Marshal(s) // texts and numbers only
	return string(b)
}

var accentRE = regexp.MustCompile(`^#[0-9a-f]{6}$`)

// check notes every wrong setting, with prefix before its name.
func (s Settings) check(prefix string, wrong *fault.Fields) {
	const day = 24 * 60 * 60
	if s.MFA != mfaOptional && s.MFA != MFARequired {
		wrong.Add(prefix+"mfa", "This must be optional or required.")
	}
	if !accentRE.MatchString(s.Accent) {
		wrong.Add(prefix+"accent",
			"A colour is written as # and six hexadecimal digits in lower case, such as #2f5bea.")
	}
	if s.LogoURL != "" {
		u, err := url.Parse(s.LogoURL)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || len(s.LogoURL) > 500 ||
			u.String() != s.LogoURL {
			wrong.Add(prefix+"logo_url", "The logo must have an https address of at most 500 characters.")
		}
	}
	if s.Locale != "en" && s.Locale != "de" {
		wrong.Add(prefix+"locale", "This must be en or de.")
	}
	if s.SessionIdleSeconds < 5*60 || s.SessionIdleSeconds > 90*day {
		wrong.Add(prefix+"session_idle_seconds", "This must be from 300 to 7776000 seconds.")
	}
	if s.SessionMaxSeconds < s.SessionIdleSeconds || s.SessionMaxSeconds > 365*day {
		wrong.Add(prefix+"session_max_seconds",
			"This must be at least session_idle_seconds and at most 31536000 seconds.")
	}
	if s.PasswordMinLength < 8 || s.PasswordMinLength > 128 {
		wrong.Add(prefix+"password_min_length", "This must be from 8 to 128.")
	}
	checkUserAttributes(s.UserAttributes, prefix+"user_attributes", wrong)
	if s.FailuresPerAddress < 10 || s.FailuresPerAddress > 100_000 {
		wrong.Add(prefix+"failures_per_address", "This must be from 10 to 100000.")
	}
	if s.RegistrationsPerAddress < 10 || s.RegistrationsPerAddress > 100_000 {
		wrong.Add(prefix+"registrations_per_address", "This must be from 10 to 100000.")
	}
	s.SignIn.check(prefix+"signin.", wrong)
}
