package grant

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Times of a device authorization (RFC 8628 §3.2, §3.5).
const (
	DeviceLifetime = 10 * time.Minute // in which a person answers and the device redeems
	DeviceInterval = 5 * time.Second  // between two polls; each poll that comes sooner adds as much
	deviceLeeway   = time.Second      // by which a poll may come sooner: networks delay requests
	deviceMemory   = 10 * time.Minute // after its end a device code is still recognised
)

// Bounds on the rows that requests of devices leave. Requests that arrive at once may exceed them
// by their number.
const (
	maxDevices            = 5000 // of a tenant at once
	maxApplicationDevices = 1000 // of an application at once
	deviceDropBatch       = 20   // expired rows that one new request deletes
)

// Outcomes of redeeming a device code, besides those of codes and refresh tokens.
const (
	Pending Outcome = "pending"  // the person has not answered yet
	TooSoon Outcome = "too soon" // as Pending, and the device polled before its interval was over
	Refused Outcome = "refused"  // the person did not allow it
)

// Device is the request of a device for access, as the person who decides about it sees it.
type Device struct {
	ID          id.ID
	Application id.ID
	UserCode    string // eight letters
	Scopes      []string
	Resources   []string // of Grant
	Address     string   // where the request came from; "" if it is not known
	Agent       string   // the User-Agent of the request, at most 256 bytes; its sender chose it
	CreatedAt   time.Time
	ExpiresAt   time.Time
}

// ErrDevice is returned for a request of a device that no person can answer.
var ErrDevice = fault.New(fault.NotFound, "device.gone",
	"This code has expired, or it was answered already. Start again on your device.")

// errDevices is returned to a device if too many requests of devices wait for an answer.
var errDevices = fault.New(fault.Limited, "device.too_many",
	"Too many devices of this application wait for an answer. Try again in a few minutes.")

// userCodeLetters are 20 consonants: no word comes of them, and none looks like a digit
// (RFC 8628 §6.1). Eight of them are 34 bits.
const (
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLen     = 8
)

func newUserCode() string {
	code := make([]byte, 0, userCodeLen)
	var random [1]byte
	for len(code) < userCodeLen {
		rand.Read(random[:]) // never fails: crypto/rand ends the program instead
		// 240 is the greatest multiple of 20 in a byte: no letter is likelier than another.
		if n := int(random[0]); n < 240 {
			code = append(code, userCodeLetters[n%len(userCodeLetters)])
		}
	}
	return string(code)
}

// FormatUserCode returns a user code as people see it: XXXX-XXXX.
func FormatUserCode(code string) string {
	return code[:userCodeLen/2] + "-" + code[userCodeLen/2:]
}

// RequestDevice stores the request of a device, and returns it with the code that redeems it. It
// fails with a Limited fault if too many requests wait for an answer. The caller of tx is the
// device.
func RequestDevice(ctx context.Context, tx *db.Tx, app id.ID, scopes, resources []string) (
	Device, secret.String, error) {
	now := tx.Now()
	waiting := func(r db.Row) ([2]int64, error) {
		var n [2]int64
		err := r.Scan(&n[0], &n[1])
		return n, err
	}
	n, err := db.One(ctx, tx, waiting, `SELECT
		(SELECT count(*) FROM device_authorizations WHERE tenant_id = $1 AND status = 'pending' AND expires_at > $2),
		(SELECT count(*) FROM device_authorizations WHERE tenant_id = $1 AND application_id = $3
			AND status = 'pending' AND expires_at > $2)`,
		now, app)
	if err != nil {
		return Device{}, "", err
	}
	if n[0] >= maxDevices || n[1] >= maxApplicationDevices {
		return Device{}, "", errDevices
	}
	d := Device{
		ID: id.New(), Application: app, Scopes: scopes, Resources: resources,
		Address: addressOf(tx.Caller()), Agent: tx.Caller().Agent, CreatedAt: now, ExpiresAt: now.Add(DeviceLifetime),
	}
	code, hash := secret.NewToken(secret.DeviceCode, tx.Tenant())
	for range 5 { // a code that another request has is one in millions
		d.UserCode = newUserCode()
		n, err := tx.Exec(ctx, `INSERT INTO device_authorizations (tenant_id, id, code_hash, user_code, application_id,
			scopes, address, agent, wait, created_at, expires_at, resources)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
			ON CONFLICT (tenant_id, user_code) DO NOTHING`, d.ID, hash, d.UserCode, app, join(scopes), d.Address,
			d.Agent, DeviceInterval.Microseconds(), d.CreatedAt, d.ExpiresAt, join(resources))
		if err != nil {
			return Device{}, "", err
		}
		if n == 1 {
			tx.Later(expiredDevices, now.Add(-deviceMemory), deviceDropBatch)
			return d, code, nil
		}
	}
	return Device{}, "", errDevices
}

// expiredDevices deletes requests of devices that ended before $2.
const expiredDevices = `DELETE FROM device_authorizations WHERE tenant_id = $1 AND id IN (
	SELECT id FROM device_authorizations WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)`

// FindDevice returns the request that waits for an answer under a user code, without its dash. It
// fails with ErrDevice.
func FindDevice(ctx context.Context, tx *db.Tx, userCode string) (Device, error) {
	scan := func(r db.Row) (Device, error) {
		var d Device
		var scopes string
		err := r.Scan(&d.ID, &d.Application, &d.UserCode, &scopes, &d.Address, &d.Agent, &d.CreatedAt, &d.ExpiresAt,
			(*listed)(&d.Resources))
		d.Scopes = split(scopes)
		return d, err
	}
	d, err := db.One(ctx, tx, scan, `SELECT id, application_id, user_code, scopes, address, agent, created_at,
		expires_at, resources FROM device_authorizations
		WHERE tenant_id = $1 AND user_code = $2 AND status = 'pending' AND expires_at > $3`, userCode, tx.Now())
	if errors.Is(err, db.ErrNoRows) {
		return Device{}, ErrDevice
	}
	return d, err
}

// ApproveDevice gives a device what its request asks for: a grant that the device redeems. n names
// the person's session; its lifetime counts from the redemption. It fails with ErrDevice. The
// caller of tx is the person's browser.
func ApproveDevice(ctx context.Context, tx *db.Tx, device id.ID, n New) error {
	n.Lifetime = DeviceLifetime + deviceMemory // a grant that no device redeems ends by itself
	g, err := insert(ctx, tx, n)
	if err != nil {
		return err
	}
	if err := answerDevice(ctx, tx, device, "approved", g.ID); err != nil {
		return err
	}
	audit.Write(tx, audit.Event{Action: "device.approve", Target: application.TargetOf(n.Application),
		Detail: map[string]any{"user": n.User.String(), "session": n.Session.String(), "grant": g.ID.String(),
			"scopes": join(n.Scopes), "resources": n.Resources, "offline": n.Offline,
			"device": device.String()}})
	return nil
}

// DenyDevice refuses the request of a device for a user. It fails with ErrDevice.
func DenyDevice(ctx context.Context, tx *db.Tx, device, app, user id.ID) error {
	if err := answerDevice(ctx, tx, device, "denied", id.ID{}); err != nil {
		return err
	}
	audit.Write(tx, audit.Event{Action: "device.deny", Target: application.TargetOf(app), Outcome: audit.Refused,
		Detail: map[string]any{"user": user.String(), "device": device.String()}})
	return nil
}

// answerDevice decides: of any number of answers, one changes the row.
func answerDevice(ctx context.Context, tx *db.Tx, device id.ID, status string, grant id.ID) error {
	n, err := tx.Exec(ctx, `UPDATE device_authorizations SET status = $3, grant_id = $4
		WHERE tenant_id = $1 AND id = $2 AND status = 'pending' AND expires_at > $5`, device, status, grant, tx.Now())
	if err == nil && n == 0 {
		return ErrDevice
	}
	return err
}

// deviceState is a stored request of a device.
type deviceState struct {
	id, application, grant id.ID
	status                 string
	wait                   time.Duration
	polled, expires        time.Time
}

// DeviceRedemption is the use of a device code by an application that has authenticated.
type DeviceRedemption struct {
	Application id.ID
	Lifetime    time.Duration // of the grant
	Issuer      string        // at which the device redeems, so that of its ID token
	// Allows reports whether the rules of signing in allow what the grant gives.
	Allows func(context.Context, *db.Tx, Grant) (bool, error)
}

// RedeemDevice redeems a device code, once. Until the person has answered it is Pending, and each
// poll that comes too soon lengthens the interval (RFC 8628 §3.5). As with ConsumeCode, a code that
// is redeemed again ends what it gave.
func RedeemDevice(ctx context.Context, tx *db.Tx, token string, r DeviceRedemption) (Grant, Outcome, error) {
	hash, ok := hashOf(tx, token, secret.DeviceCode)
	if !ok {
		return Grant{}, Unknown, nil
	}
	scan := func(row db.Row) (deviceState, error) {
		var s deviceState
		var wait int64
		err := row.Scan(&s.id, &s.application, &s.grant, &s.status, &wait, &s.polled, &s.expires)
		s.wait = time.Duration(wait) * time.Microsecond
		return s, err
	}
	s, err := db.One(ctx, tx, scan, `SELECT id, application_id, grant_id, status, wait, polled_at, expires_at
		FROM device_authorizations WHERE tenant_id = $1 AND code_hash = $2`, hash)
	switch {
	case errors.Is(err, db.ErrNoRows):
		return Grant{}, Unknown, nil
	case err != nil:
		return Grant{}, "", err
	case s.application != r.Application:
		return Grant{}, Unknown, refuseOnce(ctx, tx, hash, s.refused("device.refuse", "shown by another application"))
	case s.status == "redeemed":
		return s.again(ctx, tx, hash)
	case !tx.Now().Before(s.expires):
		return Grant{}, Expired, nil
	case s.status == "denied":
		return Grant{}, Refused, nil
	case s.status == "pending":
		return Grant{}, s.poll(tx), nil
	}
	// This statement decides: of any number of redeemers, one changes a row.
	n, err := tx.Exec(ctx, `UPDATE device_authorizations SET status = 'redeemed'
		WHERE tenant_id = $1 AND id = $2 AND status = 'approved'`, s.id)
	switch {
	case err != nil:
		return Grant{}, "", err
	case n == 0:
		return s.again(ctx, tx, hash)
	}
	g, err := db.One(ctx, tx, scanGrant, `SELECT `+grantColumns+` FROM grants g
		WHERE g.tenant_id = $1 AND g.id = $3 AND `+living, tx.Now(), s.grant)
	switch {
	case errors.Is(err, db.ErrNoRows): // revoked, or its user or session ended
		endUngivenLater(tx, s.grant)
		return Grant{}, Unknown, nil
	case err != nil:
		return Grant{}, "", err
	}
	allowed, err := r.Allows(ctx, tx, g)
	switch {
	case err != nil:
		return Grant{}, "", err
	case !allowed:
		endUngivenLater(tx, g.ID)
		return Grant{}, RuledOut, nil
	}
	g.ExpiresAt = tx.Now().Add(r.Lifetime)
	tx.Later(`UPDATE grants SET expires_at = $3, issuer = $4 WHERE tenant_id = $1 AND id = $2`, g.ID, g.ExpiresAt,
		r.Issuer)
	audit.Write(tx, givenEvent(g))
	return g, Accepted, nil
}

// poll records a poll of a device that waits.
func (s deviceState) poll(tx *db.Tx) Outcome {
	outcome, longer := Pending, time.Duration(0)
	if !s.polled.IsZero() && tx.Now().Before(s.polled.Add(s.wait-deviceLeeway)) {
		outcome, longer = TooSoon, DeviceInterval
	}
	tx.Later(`UPDATE device_authorizations SET polled_at = $3, wait = wait + $4
		WHERE tenant_id = $1 AND id = $2 AND status = 'pending'`, s.id, tx.Now(), longer.Microseconds())
	return outcome
}

// again ends what a device code gave that is shown after it was redeemed.
func (s deviceState) again(ctx context.Context, tx *db.Tx, hash []byte) (Grant, Outcome, error) {
	revokeLater(tx, s.grant)
	return Grant{}, Replayed, refuseOnce(ctx, tx, hash, s.refused("device.replay",
		"a device code was shown again; what it gave is revoked"))
}

func (s deviceState) refused(action, reason string) audit.Event {
	return audit.Event{Action: action, Target: application.TargetOf(s.application), Outcome: audit.Refused,
		Detail: map[string]any{"reason": reason, "device": s.id.String()}}
}
