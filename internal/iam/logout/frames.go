package logout

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

const (
	maxFrames = 20              // of one page
	pageTime  = 2 * time.Minute // from the sign-out until its page is shown
)

// EndHere is End for a session that ends in its own browser. It also records the applications whose
// pages that browser is to load (OpenID Connect Front-Channel Logout 1.0). A session that has ended
// already is fine.
func EndHere(ctx context.Context, tx *db.Tx, of id.ID) error {
	err := End(ctx, tx, of, "signout")
	if errors.Is(err, session.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := frames(ctx, tx, of)
	for _, f := range all {
		audit.Write(tx, audit.Event{Action: "logout.notify", Target: f.app, Outcome: audit.Success,
			Detail: map[string]any{"channel": "front", "session": of.String(), "user": f.user.String(),
				"result": "given to the browser"}})
	}
	return err
}

// frame is an application of an ended session, with its front-channel settings.
type frame struct {
	app    audit.Target
	user   id.ID
	issuer string
	page   application.FrontchannelLogout
}

// Frames returns the addresses that the browser of an ended session loads in frames. issuer is that
// of grants which do not name one.
func Frames(ctx context.Context, tx *db.Tx, of id.ID, issuer string) ([]string, error) {
	all, err := frames(ctx, tx, of)
	var out []string
	for _, f := range all {
		if f.issuer == "" {
			f.issuer = issuer
		}
		out = append(out, f.page.Address(f.issuer, of.String()))
	}
	return out, err
}

func frames(ctx context.Context, tx *db.Tx, of id.ID) ([]frame, error) {
	return db.List(ctx, tx, func(r db.Row) (frame, error) {
		var f frame
		var app id.ID
		err := r.Scan(&app, &f.app.Name, &f.user, &f.issuer, &f.page.URI, &f.page.Session)
		f.app.Kind, f.app.ID = "application", app.String()
		return f, err
	}, `SELECT a.id, a.name, p.user_id, max(p.issuer), a.frontchannel_logout_uri, a.frontchannel_logout_session
		FROM `+grant.OfSessions(`s.id = $2 AND s.ended_at IS NOT NULL`)+` p
		JOIN applications a ON a.tenant_id = $1 AND a.id = p.application_id
		WHERE a.status = 'active' AND a.frontchannel_logout_uri <> ''
		GROUP BY a.id, a.name, p.user_id, a.frontchannel_logout_uri, a.frontchannel_logout_session
		ORDER BY a.id LIMIT $3`, of, maxFrames)
}

// Departure is what the browser of an ended session still does: it loads the frames of the
// session's applications, and returns to the one that asked for the sign-out.
type Departure struct {
	Session id.ID     `json:"session"`
	Return  string    `json:"return,omitempty"` // a registered post_logout_redirect_uri with its state, or ""
	Name    string    `json:"name,omitempty"`   // of the application to return to
	Until   time.Time `json:"until"`
}

// sealer seals departures; the key ring of kit/secret is one.
type sealer interface {
	Seal(tenant id.ID, purpose string, plain []byte) ([]byte, error)
	Open(tenant id.ID, purpose string, sealed []byte) ([]byte, error)
}

// Query returns the query with which the browser gets the signed-out page, or "" if there are no
// frames to load. It is sealed for the browser with this secret and for pageTime. So an address
// with it leads no other browser anywhere.
func (d Departure) Query(ctx context.Context, tx *db.Tx, by sealer, browser string) (string, error) {
	if d.Session.IsZero() {
		return "", nil
	}
	all, err := frames(ctx, tx, d.Session)
	if err != nil || len(all) == 0 {
		return "", err
	}
	d.Until = tx.Now().Add(pageTime)
	plain, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	sealed, err := by.Seal(tx.Tenant(), purposeOf(browser), plain)
	return "?ended=" + base64.RawURLEncoding.EncodeToString(sealed), err
}

// OpenDeparture returns the departure in the parameter ended of a signed-out page. It returns false
// unless the text is this browser's and recent.
func OpenDeparture(tx *db.Tx, by sealer, browser, text string) (Departure, bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || text == "" {
		return Departure{}, false
	}
	plain, err := by.Open(tx.Tenant(), purposeOf(browser), sealed)
	if err != nil {
		return Departure{}, false
	}
	var d Departure
	if err := json.Unmarshal(plain, &d); err != nil || !tx.Now().Before(d.Until) {
		return Departure{}, false
	}
	return d, true
}

func purposeOf(browser string) string {
	sum := sha256.Sum256([]byte(browser))
	return "logout.departure\x00" + string(sum[:])
}
