package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// sign is a token of the house's application that change has made wrong.
func (w *world) sign(h house, typ string, change func(*grant.AccessClaims)) string {
	w.t.Helper()
	s, err := w.keys.Signer(w.t.Context(), h.c, jose.ES256, typ)
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.Clock.Now()
	claims := grant.AccessClaims{Application: h.app.ID.String(), Scope: "manage", Claims: jose.Claims{
		Issuer: h.site.Base, Subject: h.app.ID.String(), Audience: jose.Audience{h.site.Base}, ID: id.New().String(),
		IssuedAt: jose.At(now), Expiry: jose.At(now.Add(time.Hour)),
	}}
	change(&claims)
	text, err := s.Sign(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// stored is an opaque token of the acme user, after do.
func (w *world) stored(do func(ctx context.Context, tx *db.Tx, token string, t grant.Token) error) string {
	w.t.Helper()
	token := w.opaque(w.acme, true, w.acme.site.Base)
	h, err := w.guard.Admit(w.t.Context(), w.acme.c, w.acme.site, access.Proof{Bearer: token},
		access.Want{Own: resourceserver.Own{Scope: "manage"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.update(w.acme, func(ctx context.Context, tx *db.Tx) error { return do(ctx, tx, token, h.Token) })
	return token
}

// The log and the audit log have the cause of a refusal. The answer tells it to the holder of a
// valid token only.
func TestWhyATokenIsRefused(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		const forAnother, general = "for another API", "may have expired or been revoked"
		jwt := func(change func(*grant.AccessClaims)) string { return w.sign(w.acme, jose.TypeAccessToken, change) }
		of := func(kind string) string {
			s, _ := secret.NewToken(kind, w.acme.c.Tenant)
			return s.Reveal()
		}
		same, none, globex := func(*grant.AccessClaims) {}, id.New().String(), w.globex.site.Base
		revoked := jwt(same)
		w.update(w.acme, func(_ context.Context, tx *db.Tx) error {
			grant.RevokeJWT(tx, grant.Token{ID: jose.Peek(revoked).ID, Application: w.acme.app.ID,
				ExpiresAt: tx.Now().Add(time.Hour)}, w.acme.app.ID)
			return nil
		})
		for name, tt := range map[string]struct{ token, why, reason string }{
			"for another API": {w.jwt(w.acme, "https://api.example", "manage"), `["https://api.example"]`, forAnother},
			"for another API, opaque": {w.opaque(w.acme, false, "https://api.example"), `["https://api.example"]`,
				forAnother},
			"of another API's type": {w.sign(w.acme, jose.TypeJWT, func(c *grant.AccessClaims) {
				c.Use, c.Audience = grant.UseAccess, jose.Audience{"https://api.example"}
			}), "type JWT", forAnother},
			"an ID token":             {w.sign(w.acme, jose.TypeJWT, same), "ID token", general},
			"a refresh token":         {of(secret.RefreshToken), "refresh token", general},
			"an unknown token":        {of(secret.AccessToken), "unknown", general},
			"a neighbour's":           {w.opaque(w.globex, false, w.globex.site.Base), "another tenant", general},
			"a neighbour's JWT":       {w.jwt(w.globex, w.acme.site.Base, "manage"), "signature", general},
			"a forged one":            {revoked[:len(revoked)-8] + "AAAAAAAA", "signature", general},
			"nonsense":                {"nonsense", "token refused", general},
			"without an application":  {jwt(func(c *grant.AccessClaims) { c.Application = "x" }), "app", general},
			"with a wrong grant":      {jwt(func(c *grant.AccessClaims) { c.GrantID = "x" }), "gid", general},
			"of a grant that is gone": {jwt(func(c *grant.AccessClaims) { c.GrantID = none }), "long ago", general},
			"expired": {jwt(func(c *grant.AccessClaims) {
				c.IssuedAt, c.Expiry = c.IssuedAt-3600, c.IssuedAt-60
			}), "valid from", general},
			"of another issuer": {jwt(func(c *grant.AccessClaims) { c.Issuer = globex }), "issuer", general},
			"revoked JWT":       {revoked, "revoked", general},
			"revoked": {w.stored(func(ctx context.Context, tx *db.Tx, token string, _ grant.Token) error {
				return grant.RevokeToken(ctx, tx, nil, token, w.acme.app.ID)
			}), "it was revoked", general},
			"of a revoked grant": {w.stored(func(_ context.Context, tx *db.Tx, _ string, t grant.Token) error {
				grant.RevokeOfUser(tx, t.User, "test")
				return nil
			}), "its grant was revoked", general},
			"of an ended session": {w.stored(func(ctx context.Context, tx *db.Tx, _ string, t grant.Token) error {
				return session.Revoke(ctx, tx, t.Session, "test")
			}), "its session has ended", general},
			"without the scope": {w.jwt(w.acme, w.acme.site.Base, "email"), `only ["email"]`, "not have the scope"},
		} {
			_, err := w.guard.Admit(t.Context(), w.acme.c, w.acme.site, access.Proof{Bearer: tt.token},
				access.Want{Own: resourceserver.Own{Scope: "manage"}})
			if why := access.Why(err); !strings.Contains(why, tt.why) {
				t.Errorf("%s: the cause is %q", name, why)
			}
			if got := fault.As(err).Reason; !strings.Contains(got, tt.reason) {
				t.Errorf("%s: the answer is %q", name, got)
			}
		}
		token := w.opaque(w.acme, true, w.acme.site.Base)
		w.update(w.acme, func(ctx context.Context, tx *db.Tx) error {
			free := func(_ context.Context, _ *db.Tx, do func() error) error { return do() }
			_, err := user.SetStatus(ctx, tx, free, w.acme.user.ID, user.Locked)
			return err
		})
		want := access.Want{Own: resourceserver.Own{Scope: "manage"}}
		_, err := w.guard.Admit(t.Context(), w.acme.c, w.acme.site, access.Proof{Bearer: token}, want)
		if access.Why(err) != "its user is locked, closed or deleted" {
			t.Errorf("of a locked user: %s", access.Why(err))
		}
		want.User = true
		own := w.opaque(w.acme, false, w.acme.site.Base)
		_, err = w.guard.Admit(t.Context(), w.acme.c, w.acme.site, access.Proof{Bearer: own}, want)
		if !errors.Is(err, grant.ErrToken) ||
			!strings.Contains(access.Why(err), "an application's own") {
			t.Errorf("an application's own: %v", err)
		}
	})
}

// A refusal is an audit event with its cause. A flood of strangers leaves a bounded number, and
// hides no refusal of a valid token.
func TestRefusalsAreRecorded(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		c := caller.Caller{Tenant: w.acme.c.Tenant, Address: netip.MustParseAddr("203.0.113.9")}
		present := func(token string) {
			t.Helper()
			_, err := w.guard.Admit(t.Context(), c, w.acme.site, access.Proof{Bearer: token},
				access.Want{Own: resourceserver.Own{Scope: "manage"}})
			w.guard.Record(t.Context(), c, access.RefusedDecision, err)
		}
		events := func() []audit.Record {
			t.Helper()
			l, err := db.Read(t.Context(), w.DB, w.acme.c, func(tx *db.Tx) (page.List[audit.Record], error) {
				f := audit.Filter{Action: access.RefusedDecision}
				return audit.List(t.Context(), tx, f, page.Request{Limit: 200})
			})
			if err != nil {
				t.Fatal(err)
			}
			return l.Items
		}
		for range 40 {
			present("nonsense")
		}
		if n := len(events()); n != 10 {
			t.Errorf("40 bad tokens of a stranger left %d events", n)
		}
		for range 3 {
			present(w.jwt(w.acme, "https://api.example", "manage"))
		}
		found := events()
		i := slices.IndexFunc(found, func(e audit.Record) bool { return e.Actor.ID == w.acme.app.ID })
		if i < 0 || len(found) != 11 {
			t.Fatalf("of a valid token for another API: %d events, its own at %d", len(found), i)
		}
		var detail map[string]any
		if err := json.Unmarshal(found[i].Detail, &detail); err != nil {
			t.Fatal(err)
		}
		if detail["code"] != "token.invalid" || detail["reason"] != `its audience is ["https://api.example"]` ||
			detail["client_id"] != w.acme.app.ClientID || found[i].Target.ID != w.acme.app.ID.String() {
			t.Errorf("%+v %v", found[i], detail)
		}
		w.Clock.Advance(time.Minute)
		present(w.jwt(w.acme, "https://api.example", "manage"))
		if found = events(); len(found) != 12 || !slices.ContainsFunc(found, func(e audit.Record) bool {
			return strings.Contains(string(e.Detail), `"not_recorded": 2`) ||
				strings.Contains(string(e.Detail), `"not_recorded":2`)
		}) {
			t.Errorf("the next event does not count the two before: %d events", len(found))
		}
	})
}
