package attempt

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// rule says how failures of one kind are counted.
type rule struct {
	Free   int           // failures until the first delay
	First  time.Duration // the first delay; it doubles with each further failure
	Max    time.Duration // the longest delay
	Forget time.Duration // counting starts again after this time without a failure
}

// accountRule is of an account: five tries, then delays of 1, 2, 4, 8, 15, 15 … minutes. That is
// about a hundred guesses a day.
var accountRule = rule{Free: 5, First: time.Minute, Max: 15 * time.Minute, Forget: 24 * time.Hour}

// knownFor is the time that a browser and a client's network stay known to an account after a
// sign-in.
const knownFor = 30 * 24 * time.Hour

// delay returns how long a subject must wait after the given number of failures.
func (r rule) delay(failures int) time.Duration {
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

// Key is one counted subject, which has a rule or a bucket.
type Key struct {
	subject string // "kind:digest"
	rule    rule
	bucket  bucket
}

// judge applies the key's rule or bucket to its row. alarm is for buckets.
func (k Key) judge(c counter, now time.Time, alarm bool) Verdict {
	if k.bucket.Burst > 0 {
		return k.bucket.judge(c, now, alarm)
	}
	return judge(k.rule, c, now)
}

// digest returns a subject that does not reveal what it counts.
func digest(kind string, parts ...string) string {
	h := sha256.New()
	h.Write([]byte("gatehouse attempt v1\x00" + kind))
	for _, p := range parts {
		h.Write([]byte{0})
		h.Write([]byte(p))
	}
	return kind + ":" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// Account counts failures to prove an account. user is zero for an unknown login, which is counted
// by its text.
func Account(user id.ID, login string) Key {
	return Key{subject: digest("account", accountOf(user, login)), rule: accountRule}
}

// Factor counts wrong second factors of a user. An attacker who gets this far knows the password.
func Factor(user id.ID) Key {
	return Key{subject: digest("factor", user.String()), rule: accountRule}
}

// ofTenant counts all failures of the tenant.
func ofTenant() Key { return Key{subject: digest("tenant-failures"), bucket: tenantBucket} }

func accountOf(user id.ID, login string) string {
	if !user.IsZero() {
		return "user\x00" + user.String()
	}
	return "login\x00" + strings.ToLower(strings.TrimSpace(login))
}

// Verdict says whether an attempt is allowed.
type Verdict struct {
	Blocked bool
	Until   time.Time // end of the block
	Started bool      // this failure started the block, which deserves an audit event
	Known   bool      // this browser or network has signed in to this account before
}

// Wait returns the time until the block ends, in whole seconds rounded up. Pages and Retry-After
// show it.
func (v Verdict) Wait(now time.Time) time.Duration {
	if !v.Blocked {
		return 0
	}
	return max(v.Until.Sub(now).Truncate(time.Second)+time.Second, time.Second)
}
