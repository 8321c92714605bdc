package signin

import (
	"math/bits"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
)

// factor is a set of kinds of evidence (NIST SP 800-63B §4).
type factor uint8

// The kinds of evidence.
const (
	knows factor = 1 << iota // the person knows a secret
	holds                    // the person holds a device or a list
)

// Method is one way to prove who one is. A new way to sign in is one more row of the table.
type Method struct {
	Name   string // in stored proofs and in the audit log; never reused for another method
	AMR    string // its authentication method reference (RFC 8176 §2)
	Factor factor // what it is evidence of; two kinds at once for a passkey with user verification
	First  bool   // it may begin a sign-in
	Second Step   // the step that asks for it after a first factor; "" if nothing does
	// Version tells when the user's credential was last replaced: a proof holds only for the
	// version it was made with. It is zero for a user without the credential.
	Version func(credential.Summary) time.Time
}

// The methods.
var (
	Password = &Method{
		Name: "password", AMR: "pwd", Factor: knows, First: true,
		Version: func(c credential.Summary) time.Time { return c.PasswordChangedAt },
	}
	TOTP = &Method{
		Name: "totp", AMR: "otp", Factor: holds, Second: AskTOTP,
		Version: func(c credential.Summary) time.Time { return c.TOTPSince },
	}
	// Recovery codes replace the app that they were issued with, so they share its version.
	Recovery = &Method{
		Name: "recovery", AMR: "otp", Factor: holds, Second: AskTOTP,
		Version: func(c credential.Summary) time.Time { return c.TOTPSince },
	}
)

// methods is the table. Its order is that in which Next asks for second factors.
var methods = []*Method{Password, TOTP, Recovery}

// multiple is the method reference of a sign-in with two factors (RFC 8176 §2).
const multiple = "mfa"

// Authentication context classes (OpenID Connect Core §2, acr).
const (
	OneFactor  = "aal1"
	TwoFactors = "aal2"
)

// Levels are the classes that a sign-in can have, weakest first.
var Levels = []string{OneFactor, TwoFactors}

// LevelOf returns the class of a sign-in with the method references amr.
func LevelOf(amr []string) string { return levelOf(factorsOf(withReferences(amr))) }

func levelOf(f factor) string {
	if bits.OnesCount8(uint8(f)) > 1 {
		return TwoFactors
	}
	return OneFactor
}

func factorsOf(used []*Method) factor {
	var f factor
	for _, m := range used {
		f |= m.Factor
	}
	return f
}

// withReferences returns a method for each known reference of amr. Methods with the same
// reference are the same evidence.
func withReferences(amr []string) []*Method {
	var out []*Method
	for _, reference := range amr {
		if i := slices.IndexFunc(methods, func(m *Method) bool { return m.AMR == reference }); i >= 0 {
			out = append(out, methods[i])
		}
	}
	return out
}

// Proof says that a user has proved a method in a flow.
type Proof struct {
	Method  string    `json:"method"`  // a Method's Name
	At      time.Time `json:"at"`      // when
	Version time.Time `json:"version"` // of the credential it was made with
	unbound bool      // new: readFacts gives it the credential's version

	// Of its user when it was made: a proof ends with the generation, and with another address.
	Generation int64  `json:"generation"`
	Email      string `json:"email"`

	unversioned bool // saved by the version before, which kept no credential's version
}

// method returns the proof's method, or nil for one that this build does not know.
func (p Proof) method() *Method {
	if i := slices.IndexFunc(methods, func(m *Method) bool { return m.Name == p.Method }); i >= 0 {
		return methods[i]
	}
	return nil
}
