package attempt

import (
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Rule says how failures of one kind are counted.
type Rule struct {
	Free   int           // failures until the first delay
	First  time.Duration // the first delay; it doubles with each further failure
	Max    time.Duration // up to this
	Forget time.Duration // without a failure for so long, counting starts again
}

// The rules.
var (
	// An account: five tries, then 1, 2, 4, 8, 15, 15 … minutes: about a hundred
	// guesses a day.
	accountRule = Rule{Free: 5, First: time.Minute, Max: 15 * time.Minute, Forget: 24 * time.Hour}
	// An address may stand for an office, so it has many more tries, over all accounts.
	addressRule = Rule{Free: 50, First: 30 * time.Second, Max: time.Hour, Forget: time.Hour}
	// A tenant under a distributed attack: browsers that have not been seen before are
	// slowed down by seconds, known ones are not.
	tenantRule = Rule{Free: 2000, First: time.Second, Max: 15 * time.Second, Forget: 10 * time.Minute}
	// What sends mail or makes accounts: counted whether it succeeds or not.
	mailRule     = Rule{Free: 3, First: 5 * time.Minute, Max: time.Hour, Forget: 24 * time.Hour}
	registerRule = Rule{Free: 10, First: time.Minute, Max: time.Hour, Forget: 24 * time.Hour}
)

// knownFor is how long a browser that has signed in to an account is remembered.
const knownFor = 30 * 24 * time.Hour

// delay is how long after its failures-th failure a subject has to wait.
func (r Rule) delay(failures int) time.Duration {
	over := failures - r.Free
	if over < 0 {
		return 0
	}
	d := r.First
	for range over {
		if d *= 2; d >= r.Max {
			return r.Max
		}
	}
	return min(d, r.Max)
}

// Key is one thing that is counted.
type Key struct {
	subject string // "kind:digest"
	rule    Rule
}

// digest makes a subject that tells nothing about what was counted.
func digest(kind string, parts ...string) string {
	h := sha256.New()
	h.Write([]byte("gatehouse attempt v1\x00" + kind))
	for _, p := range parts {
		h.Write([]byte{0})
		h.Write([]byte(p))
	}
	return kind + ":" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// Account counts failures to prove that one is a certain user. user is zero when
// there is no user with that login: it is counted all the same, by its text.
func Account(user id.ID, login string) Key {
	return Key{subject: digest("account", accountOf(user, login)), rule: accountRule}
}

// Factor counts wrong second factors of a user: who gets so far knows the password.
func Factor(user id.ID) Key {
	return Key{subject: digest("factor", user.String()), rule: accountRule}
}

// Address counts failures from a client address. An address that is not valid is
// counted too: everything without one shares a counter.
func Address(a netip.Addr) Key {
	return Key{subject: digest("address", network(a)), rule: addressRule}
}

// Tenant counts all failures of the tenant.
func Tenant() Key { return Key{subject: digest("tenant"), rule: tenantRule} }

// Mail counts mails that strangers can cause, by the address they go to.
func Mail(login string) Key {
	return Key{subject: digest("mail", strings.ToLower(strings.TrimSpace(login))), rule: mailRule}
}

// Register counts registrations and other things that strangers can make us write,
// by client address.
func Register(a netip.Addr) Key {
	return Key{subject: digest("register", network(a)), rule: registerRule}
}

func accountOf(user id.ID, login string) string {
	if !user.IsZero() {
		return "user\x00" + user.String()
	}
	return "login\x00" + strings.ToLower(strings.TrimSpace(login))
}

// network is what one subscriber has: a whole IPv4 address, an IPv6 /64.
func network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.String()
	}
	return a.String()
}

// Verdict says whether an attempt may be made.
type Verdict struct {
	Blocked bool
	Until   time.Time // when to come back, if Blocked
	Started bool      // this very failure began the block: worth an audit event
	Known   bool      // this browser has signed in to this account before
}

// Wait is how long to wait from now on, in whole seconds rounded up: what a page
// says and Retry-After carries.
func (v Verdict) Wait(now time.Time) time.Duration {
	if !v.Blocked {
		return 0
	}
	return max(v.Until.Sub(now).Truncate(time.Second)+time.Second, time.Second)
}
