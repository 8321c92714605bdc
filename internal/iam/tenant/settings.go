package tenant

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// What a tenant may ask of its users' second factor.
const (
	MFAOptional = "optional" // who has set one up is asked for it
	MFARequired = "required" // who has none sets one up at the next sign-in
)

// Settings are what a tenant decides for itself.
type Settings struct {
	Registration      bool          // strangers may register themselves
	VerifyEmail       bool          // an email address must be confirmed before the first sign-in
	MFA               string        // MFAOptional or MFARequired
	Accent            string        // "#rrggbb"; text on it is chosen by contrast
	LogoURL           string        // https, or "" for the tenant's initial
	Locale            string        // of pages and mail where a person has not chosen: "en" or "de"
	SessionIdle       time.Duration // since the last request: 5 minutes to 90 days
	SessionMax        time.Duration // since the sign-in: at least SessionIdle, to 365 days
	PasswordMinLength int           // 8 to 128 code points
	SignIn            SignIn        // who may sign in, with which factors, for how long
}

// DefaultSettings are those of a new tenant.
func DefaultSettings() Settings {
	return Settings{
		VerifyEmail: true, MFA: MFAOptional, Accent: "#2f5bea", Locale: "en",
		SessionIdle: 24 * time.Hour, SessionMax: 7 * 24 * time.Hour, PasswordMinLength: 10,
	}
}

// SettingsView is Settings as the API shows and the database stores them.
type SettingsView struct {
	Registration       bool   `json:"registration" doc:"Strangers may register themselves."`
	VerifyEmail        bool   `json:"verify_email" doc:"An email address must be confirmed before the first sign-in of somebody who registered."`
	MFA                string `json:"mfa" enum:"optional,required" doc:"Whether everybody needs a second factor."`
	Accent             string `json:"accent" pattern:"^#[0-9a-f]{6}$" patternDescription:"a colour such as #2f5bea" doc:"The colour of buttons and links."`
	LogoURL            string `json:"logo_url" maxLength:"500" doc:"An https address of the logo; empty for the tenant's initial."`
	Locale             string `json:"locale" enum:"en,de" doc:"The language of pages and mail where a person has not chosen."`
	SessionIdleSeconds int64  `json:"session_idle_seconds" minimum:"300" maximum:"7776000" doc:"How long a session lasts without a request."`
	SessionMaxSeconds  int64  `json:"session_max_seconds" minimum:"300" maximum:"31536000" doc:"How long a session lasts at most."`
	PasswordMinLength  int    `json:"password_min_length" minimum:"8" maximum:"128" doc:"The least number of characters of a password."`
	SignIn             SignIn `json:"signin" doc:"Who may sign in, with which factors, for how long."`
}

// SettingsPatch says which settings to change; nil means unchanged.
type SettingsPatch struct {
	Registration       *bool   `json:"registration,omitempty" doc:"Strangers may register themselves."`
	VerifyEmail        *bool   `json:"verify_email,omitempty" doc:"An email address must be confirmed before the first sign-in of somebody who registered."`
	MFA                *string `json:"mfa,omitempty" enum:"optional,required" doc:"Whether everybody needs a second factor."`
	Accent             *string `json:"accent,omitempty" pattern:"^#[0-9a-f]{6}$" patternDescription:"a colour such as #2f5bea" doc:"The colour of buttons and links."`
	LogoURL            *string `json:"logo_url,omitempty" maxLength:"500" doc:"An https address of the logo; empty for the tenant's initial."`
	Locale             *string `json:"locale,omitempty" enum:"en,de" doc:"The language of pages and mail where a person has not chosen."`
	SessionIdleSeconds *int64  `json:"session_idle_seconds,omitempty" minimum:"300" maximum:"7776000" doc:"How long a session lasts without a request."`
	SessionMaxSeconds  *int64  `json:"session_max_seconds,omitempty" minimum:"300" maximum:"31536000" doc:"How long a session lasts at most."`
	PasswordMinLength  *int    `json:"password_min_length,omitempty" minimum:"8" maximum:"128" doc:"The least number of characters of a password."`
	SignIn             *SignIn `json:"signin,omitempty" doc:"Who may sign in, with which factors, for how long. Replaces all of it."`
}

// View returns the settings as the API shows them.
func (s Settings) View() SettingsView {
	return SettingsView{s.Registration, s.VerifyEmail, s.MFA, s.Accent, s.LogoURL, s.Locale,
		int64(s.SessionIdle / time.Second), int64(s.SessionMax / time.Second), s.PasswordMinLength, s.SignIn}
}

func (v SettingsView) settings() Settings {
	return Settings{v.Registration, v.VerifyEmail, v.MFA, v.Accent, v.LogoURL, v.Locale,
		time.Duration(v.SessionIdleSeconds) * time.Second, time.Duration(v.SessionMaxSeconds) * time.Second, v.PasswordMinLength, v.SignIn}
}

// apply returns v with the patch's changes.
func (p SettingsPatch) apply(v SettingsView) SettingsView {
	set(&v.Registration, p.Registration)
	set(&v.VerifyEmail, p.VerifyEmail)
	set(&v.MFA, p.MFA)
	set(&v.Accent, p.Accent)
	set(&v.LogoURL, p.LogoURL)
	set(&v.Locale, p.Locale)
	set(&v.SessionIdleSeconds, p.SessionIdleSeconds)
	set(&v.SessionMaxSeconds, p.SessionMaxSeconds)
	set(&v.PasswordMinLength, p.PasswordMinLength)
	set(&v.SignIn, p.SignIn)
	return v
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// parseSettings reads what is stored. What an older version did not know has its default.
func parseSettings(text string) (Settings, error) {
	v := DefaultSettings().View()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	return v.settings(), nil
}

func (s Settings) text() string {
	b, _ := json.Marshal(s.View()) // texts and numbers only
	return string(b)
}

var accentRE = regexp.MustCompile(`^#[0-9a-f]{6}$`)

// check notes everything that is wrong with the settings, each field with prefix before its name.
func (s Settings) check(prefix string, wrong *fault.Fields) {
	const day = 24 * time.Hour
	if s.MFA != MFAOptional && s.MFA != MFARequired {
		wrong.Add(prefix+"mfa", "This must be optional or required.")
	}
	if !accentRE.MatchString(s.Accent) {
		wrong.Add(prefix+"accent", "A colour is written as # and six hexadecimal digits in lower case, such as #2f5bea.")
	}
	if s.LogoURL != "" {
		u, err := url.Parse(s.LogoURL)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || len(s.LogoURL) > 500 || u.String() != s.LogoURL {
			wrong.Add(prefix+"logo_url", "The logo must have an https address of at most 500 characters.")
		}
	}
	if s.Locale != "en" && s.Locale != "de" {
		wrong.Add(prefix+"locale", "This must be en or de.")
	}
	if s.SessionIdle < 5*time.Minute || s.SessionIdle > 90*day {
		wrong.Add(prefix+"session_idle_seconds", "This must be from 300 to 7776000 seconds.")
	}
	if s.SessionMax < s.SessionIdle || s.SessionMax > 365*day {
		wrong.Add(prefix+"session_max_seconds", "This must be at least session_idle_seconds and at most 31536000 seconds.")
	}
	if s.PasswordMinLength < 8 || s.PasswordMinLength > 128 {
		wrong.Add(prefix+"password_min_length", "This must be from 8 to 128.")
	}
	s.SignIn.check(prefix+"signin.", wrong)
}
