package signin

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// CarriedCookie is the family of the cookies in which a browser carries its flows, by their id.
const CarriedCookie = "flow"

// MaxCarried bounds a carried flow, in bytes of text. A cookie and the other headers of its answer
// fit into the 4 KiB that common proxies have for them.
const MaxCarried = 2 << 10

// errUncarried is returned by carry for a flow that does not fit into MaxCarried.
var errUncarried = errors.New("signin: the flow is too large for a browser to carry")

// errLarge is returned to a client that begins too many flows that no browser can carry.
var errLarge = fault.New(fault.Limited, "signin.large_requests",
	"Too many large requests came from your address. Send a shorter state or fewer claims, or wait a minute.")

// The limits on a client's flows that are stored because no browser can carry them. Each takes up
// to 25 KB for an hour.
const (
	largePerMinute = 1
	largeBurst     = 20
)

// NewLargeLimiter returns the limit on flows that no browser can carry, for Engine.Large.
func NewLargeLimiter(c clock.Clock) *web.Limiter {
	return web.NewLimiter(c, largePerMinute/60., largeBurst)
}

// Sealer seals what a browser carries; kit/secret's key ring is one.
type Sealer interface {
	Seal(tenant id.ID, purpose string, plain []byte) ([]byte, error)
	Open(tenant id.ID, purpose string, sealed []byte) ([]byte, error)
}

// carried is a flow as a browser carries it.
type carried struct {
	ID      id.ID     `json:"id"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Flow    Flow      `json:"flow"`
	Request string    `json:"request"` // of the flow: text packs better than the base64 of []byte
}

// CarryOrStore returns a new flow for its browser to carry. It stores a flow that is stored already
// or that no browser can carry, and returns "". The door sets or leaves the flow's CarriedCookie.
//
// Nothing is stored before a user proves something, so that strangers cannot fill the database by
// beginning flows or by making them larger. Large bounds the rest, for each client, its site and
// its provider. A Limited fault says so.
func (e *Engine) CarryOrStore(
	ctx context.Context, d *db.DB, c caller.Caller, s Standing, browser string,
) (string, error) {
	if s.Flow.Version == 0 {
		text, err := e.carry(s, c.Tenant, browser)
		if !errors.Is(err, errUncarried) {
			return text, err
		}
		if ok, _ := e.Large.Allow(c.Address); !ok {
			return "", errLarge
		}
	}
	err := d.Update(ctx, c, func(tx *db.Tx) error {
		_, err := e.Store(ctx, tx, s, browser)
		return err
	})
	if errors.Is(err, ErrStale) { // another tab was faster
		err = nil
	}
	return "", err
}

// carry returns the flow of s, sealed for the browser that carries it. Advance and Store store the
// flow under the same id. It fails with errUncarried.
func (e *Engine) carry(s Standing, tenant id.ID, browser string) (string, error) {
	if s.proved || s.Flow.Version != 0 || browser == "" {
		return "", fault.New(fault.Internal, "signin.uncarried", "Only a new flow of a browser can be carried.")
	}
	c := carried{ID: s.Flow.ID, Created: s.Flow.CreatedAt, Expires: s.Flow.ExpiresAt, Flow: s.Flow,
		Request: string(s.Flow.Request)}
	c.Flow.Request = nil
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return "", fmt.Errorf("signin: %w", err)
	}
	if err := errors.Join(json.NewEncoder(w).Encode(c), w.Close()); err != nil {
		return "", fmt.Errorf("signin: %w", err)
	}
	if base64.RawURLEncoding.EncodedLen(packed.Len()) > MaxCarried {
		return "", errUncarried
	}
	sealed, err := e.Sealer.Seal(tenant, carriedBy(browser), packed.Bytes())
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(sealed)
	if len(text) > MaxCarried {
		return "", errUncarried
	}
	return text, nil
}

// Load returns a flow as it was stored, or as the browser still carries it. It fails with ErrGone.
func (e *Engine) Load(ctx context.Context, tx *db.Tx, flow id.ID, b Browser) (Flow, error) {
	f, err := Load(ctx, tx, flow, b.Secret)
	if errors.Is(err, ErrGone) {
		return e.openCarried(ctx, tx, flow, b)
	}
	return f, err
}

// Finish is the function Finish. A flow that the browser still carries has steps left.
func (e *Engine) Finish(ctx context.Context, tx *db.Tx, flow id.ID, b Browser) (Flow, error) {
	f, err := Finish(ctx, tx, flow, b.Secret)
	if errors.Is(err, ErrGone) {
		if _, err := e.openCarried(ctx, tx, flow, b); err != nil {
			return Flow{}, err
		}
		return Flow{}, ErrNotDone
	}
	return f, err
}

// carriedBy returns the purpose that binds a sealed flow to its browser.
func carriedBy(browser string) string { return "signin.flow\x00" + string(browserHash(browser)) }

// openCarried returns the flow that a browser carries. It fails with ErrGone, also for a flow that
// was stored since: then only its row counts.
func (e *Engine) openCarried(ctx context.Context, tx *db.Tx, flow id.ID, b Browser) (Flow, error) {
	err := error(ErrGone)
	for _, text := range b.Carried {
		var f Flow
		if f, err = e.openText(ctx, tx, flow, b.Secret, text); !errors.Is(err, ErrGone) {
			return f, err
		}
	}
	return Flow{}, err
}

func (e *Engine) openText(ctx context.Context, tx *db.Tx, flow id.ID, browser, carriedText string) (Flow, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(carriedText)
	if err != nil || carriedText == "" || len(carriedText) > MaxCarried {
		return Flow{}, ErrGone
	}
	packed, err := e.Sealer.Open(tx.Tenant(), carriedBy(browser), sealed)
	if err != nil {
		return Flow{}, ErrGone.Because(err)
	}
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed))) // our own: a Flow is bounded
	if err != nil {
		return Flow{}, ErrGone.Because(err)
	}
	var c carried
	if err := json.Unmarshal(text, &c); err != nil {
		return Flow{}, ErrGone.Because(err)
	}
	if c.ID != flow || !tx.Now().Before(c.Expires) {
		return Flow{}, ErrGone
	}
	_, err = db.One(ctx, tx, func(r db.Row) (struct{}, error) { return struct{}{}, r.Scan(new(int64)) },
		`SELECT 1 FROM signin_flows WHERE tenant_id = $1 AND id = $2`, flow)
	if !errors.Is(err, db.ErrNoRows) {
		if err == nil {
			err = ErrGone
		}
		return Flow{}, err
	}
	f := c.Flow
	f.ID, f.CreatedAt, f.ExpiresAt = c.ID, c.Created, c.Expires
	if c.Request != "" {
		f.Request = []byte(c.Request)
	}
	return f, nil
}
