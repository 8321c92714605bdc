package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// A POST with an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header) takes effect once. The
// key is claimed first. The answer is stored in the transaction of the effect, if the claim is
// still held then, so that a crash leaves both or none. A refusal has no effect, so it releases the
// claim. An operation declared by Call opens transactions of its own, and its answer is stored
// after them.

// Bounds on idempotency keys.
const (
	keyLife       = 24 * time.Hour
	claimLife     = time.Minute // longer than a request may take (web.DefaultTime)
	maxKey        = 255         // bytes of a key
	maxKeptAnswer = 16 << 10    // bytes of an answer; of a larger one only the fact is kept
	keysOfCaller  = 20_000      // unexpired keys of one caller
	keysOfTenant  = 50_000
	keyParts      = 64 // a new key is counted with those of its part
	releaseTime   = 2 * time.Second
)

// Faults of an Idempotency-Key.
var (
	ErrRunning = fault.New(fault.Conflict, "request.running",
		"A call with this Idempotency-Key has not been answered yet. Send it again in a second.")
	errKeyReused = fault.New(fault.Invalid, "request.idempotency_key_reused",
		"This Idempotency-Key came with another request before. Use a new key for each call.")
	errNotKept = fault.New(fault.Conflict, "request.answer_not_kept",
		"The call with this Idempotency-Key has been done. Its answer was too large to keep: read the result.")
	errTooManyKeys = fault.New(fault.Limited, "request.idempotency_keys",
		"More idempotency keys were used within a day than are kept. Send the call without one, or later.")
)

// answered is what a call was answered. It is stored sealed: it may have a new secret.
type answered struct {
	Status int    `json:"status"`
	Body   []byte `json:"body,omitempty"` // JSON
}

// claim is an Idempotency-Key that the request holds.
type claim struct {
	ring   *secret.KeyRing
	key    [sha256.Size]byte // of caller, operation and key
	caller [sha256.Size]byte
	held   id.ID
	status int // of the operation's success
	done   bool

	mostOfCaller, mostOfTenant int // keys of one part
}

// purpose binds what is sealed to its row.
func (c *claim) purpose() string {
	return "idempotency " + base64.RawStdEncoding.EncodeToString(c.key[:])
}

// readKey returns the Idempotency-Key of a request, "" for none. It is a string of structured
// fields (RFC 9651 §3.3.3). Many clients leave out the quotes.
func readKey(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if inner, ok := strings.CutPrefix(key, `"`); ok {
		text, closed := strings.CutSuffix(inner, `"`)
		if !closed {
			text = ""
		}
		key = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(text)
	}
	wrong := len(values) > 1 || key == "" || len(key) > maxKey ||
		strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' })
	if wrong {
		return "", fault.InvalidField("request.invalid", "Idempotency-Key",
			"This must be given once, with 1 to %d printable ASCII characters, such as a random UUID.", maxKey)
	}
	return key, nil
}

// digestOf returns the SHA-256 of parts, each with its length.
func digestOf(parts ...[]byte) [sha256.Size]byte {
	h := sha256.New()
	for _, p := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(p))) // a hash never fails
		h.Write(p)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// claimKey claims the request's Idempotency-Key, if it has one and the operation is a POST. It
// returns the stored answer instead if the call has been answered before.
func (m *Mount) claimKey(r *http.Request, op Op, by caller.Caller) (*claim, *answered, error) {
	if op.Method != http.MethodPost { // it can be repeated as it is
		return nil, nil, nil
	}
	key, err := readKey(r.Header)
	if key == "" || err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
	if err != nil {
		return nil, nil, nil // it is refused when it is read again
	}
	a := by.Actor
	c := &claim{ring: m.Ring, held: id.New(), status: op.Status,
		mostOfCaller: ofPart(cmp.Or(m.KeysOfCaller, keysOfCaller)),
		mostOfTenant: ofPart(cmp.Or(m.KeysOfTenant, keysOfTenant))}
	c.caller = digestOf([]byte(a.Kind), a.Tenant[:], a.ID[:], a.Via[:])
	c.key = digestOf(c.caller[:], []byte(op.ID), []byte(key))
	request := digestOf([]byte(r.URL.Path), []byte(r.URL.RawQuery), []byte(r.Header.Get("Content-Type")), body)
	sealed, err := m.Ring.Seal(by.Tenant, c.purpose(), request[:])
	if err != nil {
		return nil, nil, err
	}
	var before *answered
	taken := false
	err = m.DB.Update(r.Context(), by, func(tx *db.Tx) error {
		var err error
		before, err = c.take(r.Context(), tx, request, sealed)
		taken = err == nil && before == nil
		return err
	})
	if err != nil && taken { // such as a lost answer to COMMIT: the claim may be stored
		m.release(r.Context(), by, c)
	}
	return c, before, err
}

// failing is a body that could not be read to its end.
type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// claimed is a stored claim.
type claimed struct {
	held              id.ID
	request, answer   []byte
	claimedAt, expiry time.Time
}

// take stores the claim, or returns the answer to the call that had the key before.
func (c *claim) take(ctx context.Context, tx *db.Tx, request [sha256.Size]byte, sealed []byte) (*answered, error) {
	now := tx.Now()
	n, err := tx.Exec(ctx, `INSERT INTO idempotency_keys (tenant_id, id, caller, claim, request, claimed_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, id) DO NOTHING`,
		c.key[:], c.caller[:], c.held, sealed, now, now.Add(keyLife))
	if err != nil {
		return nil, err
	}
	if n == 1 {
		return nil, c.count(ctx, tx)
	}
	before, err := db.One(ctx, tx, func(row db.Row) (claimed, error) {
		var k claimed
		err := row.Scan(&k.held, &k.request, &k.answer, &k.claimedAt, &k.expiry)
		return k, err
	}, `SELECT claim, request, answer, claimed_at, expires_at FROM idempotency_keys WHERE tenant_id = $1 AND id = $2`,
		c.key[:])
	if errors.Is(err, db.ErrNoRows) { // released at this moment
		return nil, ErrRunning
	}
	if err != nil {
		return nil, err
	}
	if now.Before(before.expiry) {
		was, err := c.ring.Open(tx.Tenant(), c.purpose(), before.request)
		switch {
		case err != nil:
			return nil, fmt.Errorf("api: the request of an idempotency key: %w", err)
		case subtle.ConstantTimeCompare(was, request[:]) == 0:
			return nil, errKeyReused
		case len(before.answer) > 0:
			return c.open(tx.Tenant(), before.answer)
		case now.Before(before.claimedAt.Add(claimLife)):
			return nil, ErrRunning
		}
	}
	// Its day is over, or the replica that claimed it died.
	n, err = tx.Exec(ctx, `UPDATE idempotency_keys
		SET claim = $3, request = $4, answer = $5, claimed_at = $6, expires_at = $7
		WHERE tenant_id = $1 AND id = $2 AND claim = $8`,
		c.key[:], c.held, sealed, []byte{}, now, now.Add(keyLife), before.held)
	if err == nil && n == 0 {
		err = ErrRunning
	}
	return nil, err
}

// ofPart returns how many keys one part may have, so that all parts together keep the bound.
func ofPart(bound int) int { return max(1, bound/keyParts) }

// part returns the first and the last key of the part that the claim's key is in. Keys are digests,
// so the parts are equally full. Counting one part of 64 costs little, however many keys there are.
func (c *claim) part() ([]byte, []byte) {
	const size = 256 / keyParts // first bytes
	from := c.key[0] / size * size
	first, last := make([]byte, len(c.key)), bytes.Repeat([]byte{0xff}, len(c.key))
	first[0], last[0] = from, from+size-1
	return first, last
}

// count fails with errTooManyKeys if the caller or the tenant has more keys than are kept, in the
// part of the claim's key.
func (c *claim) count(ctx context.Context, tx *db.Tx) error {
	first, last := c.part()
	type counted struct{ caller, tenant int }
	n, err := db.One(ctx, tx, func(row db.Row) (counted, error) {
		var n counted
		err := row.Scan(&n.tenant, &n.caller)
		return n, err
	}, `SELECT count(*), count(CASE WHEN caller = $4 THEN 1 END) FROM idempotency_keys
		WHERE tenant_id = $1 AND id BETWEEN $2 AND $3 AND expires_at > $5`, first, last, c.caller[:], tx.Now())
	if err == nil && (n.caller > c.mostOfCaller || n.tenant > c.mostOfTenant) {
		err = errTooManyKeys
	}
	return err
}

func (c *claim) open(tenant id.ID, sealed []byte) (*answered, error) {
	plain, err := c.ring.Open(tenant, c.purpose(), sealed)
	if err != nil {
		return nil, fmt.Errorf("api: the answer of an idempotency key: %w", err)
	}
	var a answered
	if err := json.Unmarshal(plain, &a); err != nil {
		return nil, fmt.Errorf("api: the answer of an idempotency key: %w", err)
	}
	if a.Status == 0 {
		return nil, errNotKept
	}
	return &a, nil
}

// write answers as the call was answered before.
func (a *answered) write(w http.ResponseWriter) {
	w.Header().Set("Idempotent-Replayed", "true")
	if len(a.Body) == 0 {
		w.WriteHeader(a.Status)
		return
	}
	web.WriteJSON(w, a.Status, a.Body)
}

// Keep stores the answer of a call with an Idempotency-Key in the transaction of its effect. It
// does nothing for a call without one. It fails with ErrRunning if another request took the key
// over, and the transaction must roll back then.
func (r Request) Keep(ctx context.Context, tx *db.Tx, out any) error {
	c := r.claim
	if c == nil || c.done {
		return nil
	}
	a := answered{Status: c.status}
	if _, none := out.(None); !none {
		var b bytes.Buffer
		if err := marshal(&b, r.visible(out)); err != nil {
			return err
		}
		a.Body = b.Bytes()
	}
	if len(a.Body) > maxKeptAnswer {
		a = answered{}
	}
	plain, err := json.Marshal(a)
	if err != nil {
		return err
	}
	sealed, err := c.ring.Seal(tx.Tenant(), c.purpose(), plain)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `UPDATE idempotency_keys SET answer = $4 WHERE tenant_id = $1 AND id = $2 AND claim = $3`,
		c.key[:], c.held, sealed)
	if err == nil && n == 0 {
		err = ErrRunning
	}
	tx.AfterCommit(func() { c.done = true })
	return err
}

// keepAfter is Keep for an operation that opened transactions of its own. The call is done, so a
// failure only goes to the log.
func (m *Mount) keepAfter(ctx context.Context, req Request, out any) {
	if req.claim == nil || req.claim.done {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime) // the client may have gone
	defer cancel()
	if err := m.DB.Update(ctx, req.Caller, func(tx *db.Tx) error { return req.Keep(ctx, tx, out) }); err != nil {
		web.NoteError(ctx, err)
	}
	req.claim.done = true
}

// release gives a key back whose call was refused. An answer that was stored after all stays, such
// as one whose commit was not confirmed.
func (m *Mount) release(ctx context.Context, by caller.Caller, c *claim) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime) // the client may have gone
	defer cancel()
	if err := m.DB.Update(ctx, by, func(tx *db.Tx) error {
		tx.Later(`DELETE FROM idempotency_keys WHERE tenant_id = $1 AND id = $2 AND claim = $3 AND answer = $4`,
			c.key[:], c.held, []byte{})
		return nil
	}); err != nil {
		web.NoteError(ctx, err) // the claim ends by itself after claimLife
	}
}

// PurgeKeys removes at most limit expired idempotency keys of the tenant. It reports whether more
// may be left.
func PurgeKeys(ctx context.Context, tx *db.Tx, limit int) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM idempotency_keys WHERE tenant_id = $1 AND id IN
		(SELECT id FROM idempotency_keys WHERE tenant_id = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`,
		tx.Now(), limit)
	return n == int64(limit), err
}
