package attempt

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
)

// bucket allows Burst events at once, and one more each Every. Its row needs no more than the time
// at which it is full again: expires_at. The row's column failures holds Burst.
type bucket struct {
	Burst int
	Every time.Duration
	// Alarmed is the burst while the tenant or the client's provider is under attack.
	Alarmed int
}

// Numbers are a tenant's own limits for one client address, which may stand for an office or a
// school. Zero means the default.
type Numbers struct {
	Failures      int // failed sign-ins at once; one more each minute
	Registrations int // the same of registrations
}

// NumbersOf returns the limits that a tenant's settings give.
func NumbersOf(s tenant.Settings) Numbers {
	return Numbers{Failures: s.FailuresPerAddress, Registrations: s.RegistrationsPerAddress}
}

const (
	defaultFailures      = 60
	defaultRegistrations = 60
	alarmShare           = 20 // a twentieth of the failures is allowed during an attack
)

// tenantBucket raises the alarm when the whole tenant fails more often. It refuses no sign-in by
// itself: one attacker could otherwise hold it empty and keep every new browser out.
var tenantBucket = bucket{Burst: 2000, Every: 300 * time.Millisecond}

// mailBucket is of the mails of one purpose to one address. One that is not sent was sent before,
// less than Every ago, and its link is valid for longer.
var mailBucket = bucket{Burst: 3, Every: MailEvery}

// MailEvery is the longest time for which a mail to an address may be left out, because one was
// sent already.
const MailEvery = 25 * time.Minute

// Client are the counters of one purpose for a client's networks, from narrow to wide.
type Client struct{ levels [len(network.Levels{})]Key }

// networks returns the counters of a purpose for the networks of an address.
func networks(purpose string, a netip.Addr, burst int) Client {
	var c Client
	for i, l := range network.Of(a).All() {
		factor := int(network.Failing[i])
		n := burst * factor
		c.levels[i] = Key{subject: digest(purpose, l.String()), bucket: bucket{
			Burst: n, Every: time.Minute / time.Duration(factor), Alarmed: max(n/alarmShare, 1)}}
	}
	return c
}

// Keys returns the counters for Take and Fail.
func (c Client) Keys() []Key {
	var keys []Key
	for _, k := range c.levels {
		if k.subject != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// Address counts failures from a client's networks. All requests without a valid address share one
// counter.
func Address(a netip.Addr, n Numbers) Client {
	if n.Failures == 0 {
		n.Failures = defaultFailures
	}
	return networks("failures", a, n.Failures)
}

// Register counts registrations from a client's networks.
func Register(a netip.Addr, n Numbers) Client {
	if n.Registrations == 0 {
		n.Registrations = defaultRegistrations
	}
	return networks("register", a, n.Registrations)
}

// Send counts other mails that a client's networks cause, such as those for a new password.
func Send(a netip.Addr, n Numbers) Client {
	if n.Registrations == 0 {
		n.Registrations = defaultRegistrations
	}
	return networks("send", a, n.Registrations)
}

// Device counts the requests of devices from a client's networks (RFC 8628 §3.1). Each leaves a
// row.
func Device(a netip.Addr, n Numbers) Client {
	if n.Registrations == 0 {
		n.Registrations = defaultRegistrations
	}
	return networks("device", a, n.Registrations)
}

// The bounds on guesses at the codes that devices show. All are of wrong codes only.
var (
	// A person who mistypes has enough.
	guessBucket = bucket{Burst: 20, Every: time.Minute}
	// All browsers of a tenant without a session together. While it is empty, a person signs in
	// first and has a bucket of their own.
	guessesBucket = bucket{Burst: 300, Every: 3 * time.Second}
)

// guesses is how many wrong codes of devices a client's network may show at once.
const guesses = 30

// UserCode returns the counters of wrong codes that devices show, for Hold and Fail. user is the
// person who is signed in in the browser, or zero. browser is the secret of its cookie.
func UserCode(a netip.Addr, user id.ID, browser string) []Key {
	keys := append(networks("user-code", a, guesses).Keys(),
		Key{subject: digest("user-code-browser", browser), bucket: guessBucket})
	if user.IsZero() {
		return append(keys, Key{subject: digest("user-code-strangers"), bucket: guessesBucket})
	}
	return append(keys, Key{subject: digest("user-code-user", user.String()), bucket: guessBucket})
}

// The purposes of mails that others cause than their receiver. Each has a budget of its own, so
// that registrations with a person's address do not use up the mails for a new password.
const (
	ToReset    = "mail-reset"
	ToRegister = "mail-register"
	ToInvite   = "mail-invite"
)

// Mail counts the mails of one purpose to an address. If Take blocks it, leave the mail out and
// answer as if it was sent: the person has one that is valid.
func Mail(purpose, login string) Key {
	return Key{subject: digest(purpose, strings.ToLower(strings.TrimSpace(login))), bucket: mailBucket}
}

// judge applies a bucket to its row.
func (b bucket) judge(c counter, now time.Time, alarm bool) Verdict {
	burst := b.Burst
	if alarm && b.Alarmed > 0 {
		burst = b.Alarmed
	}
	until := c.expiresAt.Add(-time.Duration(burst-1) * b.Every)
	return Verdict{Blocked: now.Before(until), Until: until}
}

// Take takes a token from the bucket of each key, and returns the verdict from before. If one is
// blocked, it takes none. Two statements.
func Take(ctx context.Context, tx *db.Tx, keys ...Key) (Verdict, error) {
	v, err := Hold(ctx, tx, keys...)
	if err != nil || v.Blocked {
		return v, err
	}
	_, err = spend(ctx, tx, keys...)
	return v, err
}

// spend takes a token from each bucket, also from an empty one, and returns the rows. A bucket is
// full again after Burst times Every, however many tokens are taken at once. One statement.
func spend(ctx context.Context, tx *db.Tx, keys ...Key) ([]counter, error) {
	keys = ordered(keys)
	var b strings.Builder
	b.WriteString(`INSERT INTO attempt_counters (tenant_id, last_at, failures, subject, expires_at) VALUES `)
	args := []any{tx.Now()}
	for i, k := range keys {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "($1, $2, $%d, $%d, $%d)", 3*i+3, 3*i+4, 3*i+5)
		args = append(args, k.bucket.Burst, k.subject, tx.Now().Add(k.bucket.Every))
	}
	// excluded.expires_at - excluded.last_at is Every, and excluded.failures is Burst. A row of a
	// larger bucket, of a tenant that raised its numbers, keeps what it has.
	b.WriteString(` ON CONFLICT (tenant_id, subject) DO UPDATE SET
		failures = excluded.failures, last_at = excluded.last_at, expires_at = CASE
		WHEN attempt_counters.expires_at <= excluded.last_at THEN excluded.expires_at
		WHEN attempt_counters.expires_at - excluded.last_at >=
			excluded.failures * (excluded.expires_at - excluded.last_at)
			THEN attempt_counters.expires_at
		WHEN attempt_counters.expires_at - excluded.last_at >=
			(excluded.failures - 1) * (excluded.expires_at - excluded.last_at)
			THEN excluded.last_at + excluded.failures * (excluded.expires_at - excluded.last_at)
		ELSE attempt_counters.expires_at + (excluded.expires_at - excluded.last_at) END
		RETURNING ` + columns)
	return db.List(ctx, tx, scanCounter, b.String(), args...)
}
