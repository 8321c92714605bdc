package pages

import (
	"html/template"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// frame holds what every page has. render fills in what depends on the request, and handlers set
// the rest.
type frame struct {
	Title  message
	Notice *notice
	Flow   string // id of the sign-in this page belongs to
	Person string // the account that is shown with "Not you?"
	Tabs   []tab  // set on account pages only

	// Filled in by render.
	Brand      brand
	Lang       string
	Theme      string // "light", "dark" or "" for what the device says
	Base       string // prefix of the tenant's links
	Stylesheet string
	Inline     template.HTML // instead of Stylesheet, on a page that loads nothing
	Colours    template.HTML
	Languages  []choice
	Themes     []choice
}

func (f *frame) base() *frame { return f }

// Query returns the query that carries the flow in a link.
func (f *frame) Query() string {
	if f.Flow == "" {
		return ""
	}
	return "?flow=" + f.Flow
}

// Failed reports whether the page says that something went wrong.
func (f *frame) Failed() bool { return f.Notice != nil && f.Notice.Failed }

// page is one of the structs below.
type page interface {
	base() *frame
	// template is the name of the page's file without its extension.
	template() string
}

// brand is what pages show of the tenant.
type brand struct {
	Name    string
	Initial string
	Logo    string       // an https address, or ""
	Icon    template.URL // the initial on the accent colour, as a data URL
}

// notice is the summary above a form: what happened, and what to do.
type notice struct {
	Failed bool   // takes the focus and is announced
	Tone   string // "bad", "good" or ""
	Text   message
	Fields []fieldProblem
}

type fieldProblem struct {
	Name string
	Text message
}

type choice struct {
	Value, Name, Href string
	Label             message
	Current           bool
}

type tab struct {
	Href    string
	Label   message
	Current bool
}

// field is one labelled input.
type field struct {
	Name         string
	Label        message
	Hint         *message
	Error        *message
	Type         string
	Value        string
	Autocomplete string
	InputMode    string
	Class        string
	MaxLength    int
	Plain        bool // no capitals, no spelling: names of accounts and codes
	Optional     bool
	Focus        bool
}

// DescribedBy returns the ids of the texts that a screen reader reads with the field.
func (f field) DescribedBy() string {
	s := ""
	if f.Error != nil {
		s = f.Name + "-error"
	}
	if f.Hint != nil {
		if s != "" {
			s += " "
		}
		s += f.Name + "-hint"
	}
	return s
}

type signInPage struct {
	frame
	Application string // "" when going to the account pages
	Again       bool   // already signed in; asked to prove it once more
	Username    field
	Password    field
	Register    bool
}

type totpPage struct {
	frame
	Code field
}

type recoveryPage struct {
	frame
	Code field
}

type enrolPage struct {
	frame
	Action string
	Cancel string
	QR     template.URL
	Secret string
	Code   field
}

type codesPage struct {
	frame
	Codes    []string
	Continue string
	File     string
	Download template.URL
}

type registerPage struct {
	frame
	Email, GivenName, FamilyName, Password field
}

// mailedPage says that a mail is on its way. Its words do not tell whether one was sent.
type mailedPage struct {
	frame
	Heading   message
	Lead      string // message id with markup, argument Address
	Address   string
	Again     string // where to ask for another one, or ""
	Back      string
	BackLabel message
}

type confirmPage struct {
	frame
	Token       string
	Address     string
	AskPassword bool // the link was opened in another browser than the one that registered
	Password    field
}

type forgottenPage struct {
	frame
	Email field
}

type resetPage struct {
	frame
	Token    string
	Resume   string // id of the flow to go on with
	Password field
}

type consentPage struct {
	frame
	Application string
	Scopes      []message
}

// devicePage asks for the code that a device shows.
type devicePage struct {
	frame
	Code field
}

// consolesPage asks for the tenant whose admin console is looked for.
type consolesPage struct {
	frame
	Action   string
	Platform string // address of the platform's console
	Tenant   field
}

type deviceConsentPage struct {
	frame
	Application string
	UserCode    string // XXXX-XXXX
	Device      message
	Address     string // "" if it is not known
	Asked       string // UTC, to the minute
	AskedAt     string // RFC 3339
	Scopes      []message
}

type deviceDonePage struct {
	frame
	Application string
	Allowed     bool
}

type refusedPage struct {
	frame
	Application string // "" when going to the account pages
	Text        message
}

type signOutPage struct {
	frame
	Application string
}

type signedOutPage struct {
	frame
	Frames      []string // addresses of applications' pages
	Return      template.URL
	Application string // to return to
	Script      template.HTML
}

type setupPage struct {
	frame
	Token                                  string
	Email, GivenName, FamilyName, Password field
}

// invitationPage shows who invited the person to what.
type invitationPage struct {
	frame
	Token, Address                  string
	Inviter                         string   // "" for a program
	Gives                           []string // names of roles and groups
	GivenName, FamilyName, Password field
}

type errorPage struct {
	frame
	Heading   message
	Text      message
	Href      string
	Action    message
	RequestID string
	Detail    string // what is wrong, in English, for the operator of an application; or ""
	Code      string // of Detail
	Received  []web.Parameter
}

type accountPage struct {
	frame
	GivenName    string
	Facts        []fact
	HasTOTP      bool
	PasswordNote message
	TOTPNote     message
	SessionNote  message
}

type fact struct {
	Label message
	Value string
	Tag   *message
	Off   bool
}

type sessionsPage struct {
	frame
	Sessions []sessionRow
	Others   bool
}

type sessionRow struct {
	ID        string
	Device    message
	Seen      message
	Address   string
	Started   string // UTC, to the minute
	StartedAt string // RFC 3339
	Current   bool
}

type passwordPage struct {
	frame
	Current, Password field
	Stay              bool // other browsers and applications stay signed in
}

type authenticatorPage struct {
	frame
	CodesNote message
	Required  bool // the tenant wants two factors from everybody
}

func (*signInPage) template() string        { return "signin" }
func (*totpPage) template() string          { return "totp" }
func (*recoveryPage) template() string      { return "recovery" }
func (*enrolPage) template() string         { return "enrol" }
func (*codesPage) template() string         { return "codes" }
func (*registerPage) template() string      { return "register" }
func (*mailedPage) template() string        { return "mailed" }
func (*confirmPage) template() string       { return "confirm" }
func (*forgottenPage) template() string     { return "forgotten" }
func (*resetPage) template() string         { return "reset" }
func (*consentPage) template() string       { return "consent" }
func (*devicePage) template() string        { return "device" }
func (*consolesPage) template() string      { return "consoles" }
func (*deviceConsentPage) template() string { return "deviceconsent" }
func (*deviceDonePage) template() string    { return "devicedone" }
func (*refusedPage) template() string       { return "refused" }
func (*signOutPage) template() string       { return "signout" }
func (*signedOutPage) template() string     { return "signedout" }
func (*setupPage) template() string         { return "setup" }
func (*invitationPage) template() string    { return "invitation" }
func (*errorPage) template() string         { return "error" }
func (*accountPage) template() string       { return "account" }
func (*sessionsPage) template() string      { return "sessions" }
func (*passwordPage) template() string      { return "password" }
func (*authenticatorPage) template() string { return "authenticator" }

// utcMinute formats a time that is shown as evidence.
func utcMinute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
