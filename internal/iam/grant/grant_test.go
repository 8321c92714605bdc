package grant_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

const issuer = "https://id.example.com/t/acme"

// world is a tenant with a user, a session and an application.
type world struct {
	*testkit.Database
	t        *testing.T
	c        caller.Caller
	user     id.ID
	session  id.ID
	app      id.ID
	ring     *secret.KeyRing
	verifier *grant.Verifier
	known    *grant.Known
	ruledOut bool // the rules of signing in refuse every redemption
}

// issuers maps the bases of tenants to them.
type issuers map[string]id.ID

func (i issuers) ByIssuer(_ context.Context, issuer string) (web.Site, error) {
	if t, ok := i[issuer]; ok {
		return web.Site{Tenant: t, Base: issuer}, nil
	}
	return web.Site{}, fault.New(fault.NotFound, "tenant.not_found", "There is no such tenant.")
}

func both(t *testing.T, fn func(t *testing.T, w *world)) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ring, err := secret.ParseKeyRing(secret.NewKey("test"))
		if err != nil {
			t.Fatal(err)
		}
		w := &world{Database: d, t: t, c: d.Tenant(t, "acme"), ring: ring, app: id.New()}
		w.verifier = &grant.Verifier{DB: d.DB, Keys: signingkey.New(d.DB, ring, d.Clock, testkit.Key, func(*db.Tx) {}),
			Issuers: issuers{issuer: w.c.Tenant}}
		w.known = grant.NewKnown(w.verifier, d.Clock)
		w.application(w.app)
		w.update(func(ctx context.Context, tx *db.Tx) error {
			u, err := user.Create(ctx, tx, user.Profile{Email: "ada@example.com"})
			w.user = u.ID
			return err
		})
		w.update(func(ctx context.Context, tx *db.Tx) error {
			w.session = id.New()
			_, err := tx.Exec(
				ctx,
				`INSERT INTO sessions (tenant_id, id, user_id, token_hash, created_at, auth_time, last_seen_at, expires_at, idle, amr, acr, address, agent)
				VALUES ($1, $2, $3, $4, $5, $5, $5, $6, $7, '["pwd"]', 'aal1', '', '')`,
				w.session,
				w.user,
				[]byte("hash"),
				tx.Now(),
				tx.Now().Add(1000*time.Hour),
				(1000 * time.Hour).Microseconds(),
			)
			return err
		})
		fn(t, w)
	})
}

func (w *world) application(app id.ID) {
	w.update(func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.Exec(
			ctx,
			`INSERT INTO applications (tenant_id, id, client_id, name, type, status, auth_method, access_token, id_token_alg,
			access_token_lifetime, id_token_lifetime, refresh_token_idle, refresh_token_max, created_at, updated_at)
			VALUES ($1, $2, $3, 'App', 'web', 'active', 'client_secret_basic', 'jwt', 'ES256', 300, 300, 3600, 86400, $4, $4)`,
			app,
			app.String(),
			tx.Now(),
		)
		return err
	})
}

func (w *world) update(fn func(ctx context.Context, tx *db.Tx) error) {
	w.t.Helper()
	ctx := context.Background()
	if err := w.Update(ctx, w.c, func(tx *db.Tx) error { return fn(ctx, tx) }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) grant(offline bool) (grant.Grant, secret.String) {
	var g grant.Grant
	var code secret.String
	w.t.Helper()
	w.update(func(ctx context.Context, tx *db.Tx) error {
		var err error
		g, code, err = grant.Create(
			ctx,
			tx,
			grant.New{Application: w.app, User: w.user, Session: w.session, Offline: offline,
				Scopes: []string{
					"openid",
					"email",
				}, Nonce: "n", AuthTime: tx.Now(), AMR: []string{"pwd"}, ACR: "aal1", Lifetime: 24 * time.Hour,
				RedirectURI: "https://app.example.com/cb", CodeChallenge: "challenge"},
		)
		return err
	})
	return g, code
}

func (w *world) redeem(code secret.String, app id.ID, match bool) (grant.Grant, grant.Outcome) {
	return w.redeemWith(code, app, func(uri, challenge string) bool {
		return match && uri == "https://app.example.com/cb" && challenge == "challenge"
	})
}

func (w *world) redeemWith(
	code secret.String,
	app id.ID,
	matches func(uri, challenge string) bool,
) (grant.Grant, grant.Outcome) {
	var g grant.Grant
	var o grant.Outcome
	err := w.Update(context.Background(), w.c, func(tx *db.Tx) error {
		var err error
		g, o, err = grant.ConsumeCode(context.Background(), tx, code.Reveal(), grant.Redemption{Application: app,
			Differs: func(uri, challenge string) string {
				if matches(uri, challenge) {
					return ""
				}
				return "x"
			},
			Allows: func(context.Context, *db.Tx, grant.Grant) (bool, error) { return !w.ruledOut, nil }})
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	return g, o
}

func (w *world) refresh(token secret.String, app id.ID, r grant.Rotation) (secret.String, grant.Outcome) {
	var next secret.String
	var o grant.Outcome
	ctx := context.Background()
	err := w.Update(ctx, w.c, func(tx *db.Tx) error {
		var err error
		_, next, o, err = grant.RotateRefresh(ctx, tx, w.ring, token.Reveal(), app, r)
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	return next, o
}

func (w *world) opaque(g grant.Grant) secret.String {
	var tok secret.String
	w.update(func(_ context.Context, tx *db.Tx) error {
		of := application.Application{ID: w.app} // an application's own token has no grant
		if g.ID != (id.ID{}) {
			of.ID = g.Application
		}
		tok, _ = grant.NewOpaque(tx, g, &of, g.Scopes, []string{issuer}, issuer, 5*time.Minute)
		return nil
	})
	return tok
}

// good asks all verifiers, those that remember twice: they agree.
func (w *world) good(token string) bool {
	w.t.Helper()
	ask := func(verify func(context.Context, caller.Caller, string) (grant.Token, error)) bool {
		_, err := verify(context.Background(), w.c, token)
		if err != nil && !errors.Is(err, grant.ErrToken) {
			w.t.Fatal(err)
		}
		return err == nil
	}
	good := ask(w.verifier.Verify)
	for _, known := range []*grant.Known{w.known, w.known, w.known.Exact(), w.known.Exact()} {
		verify := func(ctx context.Context, c caller.Caller, token string) (grant.Token, error) {
			return known.Verify(ctx, c, token, nil)
		}
		if ask(verify) != good {
			w.t.Errorf("good = %v, but not for the verifier that remembers", good)
		}
	}
	return good
}

func (w *world) events(action string) int {
	var n int
	_ = w.View(context.Background(), w.c, func(tx *db.Tx) error {
		l, err := audit.List(context.Background(), tx, audit.Filter{Action: action}, page.First())
		n = len(l.Items)
		return err
	})
	return n
}

func TestACodeHasOneWinnerAndAReplayRevokesWhatItGave(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		g, code := w.grant(false)
		outcomes := make([]grant.Outcome, 16)
		w.Race(t, len(outcomes), func(i int) { _, outcomes[i] = w.redeem(code, w.app, true) })
		won := 0
		for _, o := range outcomes {
			switch o {
			case grant.Accepted:
				won++
			case grant.Replayed:
			default:
				t.Errorf("outcome %s", o)
			}
		}
		if won != 1 {
			t.Errorf("%d of 16 redeemers won, want 1", won)
		}
		if w.good(w.opaque(g).Reveal()) {
			t.Error("after a replay a token of the grant is still good")
		}
		if n := w.events("code.replay"); n != 1 {
			t.Errorf("%d audit events of 15 replays of one code, want 1", n)
		}
	})
}

func TestCodesAreRefused(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		other := id.New()
		w.application(other)
		_, code := w.grant(false)
		if _, o := w.redeem(code, other, true); o != grant.Unknown {
			t.Errorf("another application: %s", o)
		}
		if _, o := w.redeem(code, w.app, true); o != grant.Accepted {
			t.Errorf("another application's try spent the code: %s", o)
		}
		_, code = w.grant(false)
		if _, o := w.redeem(code, w.app, false); o != grant.Mismatch {
			t.Errorf("wrong verifier: %s", o)
		}
		if _, o := w.redeem(code, w.app, true); o != grant.Replayed {
			t.Errorf("after a wrong verifier: %s", o)
		}
		_, code = w.grant(false)
		w.Clock.Advance(grant.CodeLifetime)
		if _, o := w.redeem(code, w.app, true); o != grant.Expired {
			t.Errorf("after its lifetime: %s", o)
		}
		for _, bad := range []secret.String{"", "x", code + "x", secret.String("gh_rt" + code.Reveal()[5:])} {
			if _, o := w.redeem(bad, w.app, true); o != grant.Unknown {
				t.Errorf("%q: %s", bad.Reveal(), o)
			}
		}
	})
}

// A code that arrives with the wrong redirect_uri or verifier may be stolen (RFC 6749 §10.5, RFC
// 7636 §1). The first mismatch ends its grant, and every token that the grant gave.
func TestAMismatchRevokesTheGrant(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		for name, matches := range map[string]func(uri, challenge string) bool{
			"redirect_uri": func(uri, challenge string) bool {
				return uri == "https://other.example.com/cb" && challenge == "challenge"
			},
			"verifier": func(uri, challenge string) bool {
				return uri == "https://app.example.com/cb" && challenge == "another"
			},
		} {
			g, code := w.grant(true)
			access := w.opaque(g)
			if !w.good(access.Reveal()) {
				t.Fatalf("%s: the access token is not good before the mismatch", name)
			}
			if _, o := w.redeemWith(code, w.app, matches); o != grant.Mismatch {
				t.Errorf("%s: outcome %s", name, o)
			}
			if w.good(access.Reveal()) {
				t.Errorf("%s: after the mismatch an access token of the grant is still good", name)
			}
		}
		if n := w.events("code.refuse"); n != 2 {
			t.Errorf("%d refusals in the audit log, want 2", n)
		}
	})
}

// A refresh token ends with its grant at the latest, and so does each successor.
func TestARefreshTokenNeverOutlivesItsGrant(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		expires := func(token secret.String) time.Time {
			var at time.Time
			t.Helper()
			err := w.View(context.Background(), w.c, func(tx *db.Tx) error {
				found, err := grant.Refresh(context.Background(), tx, token.Reveal())
				at = found.ExpiresAt
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		g, code := w.grant(true) // for 24 hours
		if _, o := w.redeem(code, w.app, true); o != grant.Accepted {
			t.Fatal(o)
		}
		var first secret.String
		w.update(func(_ context.Context, tx *db.Tx) error {
			first = grant.NewRefresh(tx, w.ring, g, 48*time.Hour)
			return nil
		})
		if at := expires(first); !at.Equal(g.ExpiresAt) {
			t.Errorf("the first refresh token ends at %s, its grant at %s", at, g.ExpiresAt)
		}
		w.Clock.Advance(time.Hour)
		successor, o := w.refresh(first, w.app, grant.Rotation{Lifetime: 48 * time.Hour})
		if o != grant.Accepted {
			t.Fatal(o)
		}
		if at := expires(successor); !at.Equal(g.ExpiresAt) {
			t.Errorf("the successor ends at %s, its grant at %s", at, g.ExpiresAt)
		}
		short, o := w.refresh(successor, w.app, grant.Rotation{Lifetime: time.Hour})
		if want := w.Clock.Now().Add(time.Hour); o != grant.Accepted || !expires(short).Equal(want) {
			t.Errorf("%s: a shorter lifetime ends at %s, want %s", o, expires(short), want)
		}
	})
}

func (w *world) family(offline bool) (grant.Grant, secret.String) {
	g, code := w.grant(offline)
	if _, o := w.redeem(code, w.app, true); o != grant.Accepted {
		w.t.Fatal(o)
	}
	var rt secret.String
	w.update(func(_ context.Context, tx *db.Tx) error {
		rt = grant.NewRefresh(tx, w.ring, g, time.Hour)
		return nil
	})
	return g, rt
}

var rotate = grant.Rotation{Lifetime: time.Hour}

func TestRefreshRotatesOnceHoweverManyAsk(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		g, rt := w.family(true)
		next := make([]secret.String, 16)
		w.Race(t, len(next), func(i int) {
			var o grant.Outcome
			if next[i], o = w.refresh(rt, w.app, rotate); o != grant.Accepted {
				t.Errorf("within the grace: %s", o)
			}
		})
		for _, n := range next {
			if n != next[0] || n == rt {
				t.Error("there is more than one successor")
			}
		}
		var rows int64
		_ = w.View(context.Background(), w.c, func(tx *db.Tx) error {
			count := func(r db.Row) (struct{}, error) { return struct{}{}, r.Scan(&rows) }
			_, err := db.One(context.Background(), tx, count,
				`SELECT count(*) FROM refresh_tokens WHERE tenant_id = $1 AND grant_id = $2`, g.ID)
			return err
		})
		if rows != 1 {
			t.Errorf("%d rows of the family, want 1", rows)
		}
	})
}

func TestRefreshReuseRevokesTheFamily(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		for name, misuse := range map[string]func(first, second secret.String){
			"after the grace": func(_, _ secret.String) { w.Clock.Advance(grant.Grace + time.Second) },
			"after the successor was used": func(_, second secret.String) {
				if _, o := w.refresh(second, w.app, rotate); o != grant.Accepted {
					t.Errorf("the successor: %s", o)
				}
			},
		} {
			g, first := w.family(true)
			second, _ := w.refresh(first, w.app, rotate)
			misuse(first, second)
			at := w.opaque(g)
			if !w.good(at.Reveal()) {
				t.Fatalf("%s: the access token is not good before the reuse", name)
			}
			if _, o := w.refresh(first, w.app, rotate); o != grant.Replayed {
				t.Errorf("%s: %s", name, o)
			}
			if _, o := w.refresh(second, w.app, rotate); o != grant.Unknown {
				t.Errorf("%s: the family still refreshes: %s", name, o)
			}
			if w.good(at.Reveal()) {
				t.Errorf("%s: an access token of the family is still good", name)
			}
		}
		if n := w.events("token.replay"); n != 2 {
			t.Errorf("%d replays in the audit log", n)
		}
	})
}

func TestRefreshIsBoundAndExpires(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		other := id.New()
		w.application(other)
		_, rt := w.family(true)
		if _, o := w.refresh(rt, other, rotate); o != grant.Unknown {
			t.Errorf("another application: %s", o)
		}
		if same, o := w.refresh(rt, w.app, grant.Rotation{Keep: true}); o != grant.Accepted || same != rt {
			t.Errorf("without rotation: %s, same %v", o, same == rt)
		}
		// A refusal that passes leaves the token as it was.
		status := func(to string) {
			w.update(func(ctx context.Context, tx *db.Tx) error {
				_, err := tx.Exec(ctx, `UPDATE users SET status = $2 WHERE tenant_id = $1`, to)
				return err
			})
		}
		status("deactivated")
		if _, o := w.refresh(rt, w.app, rotate); o != grant.Unknown {
			t.Errorf("a deactivated user's: %s", o)
		}
		status("active")
		w.Clock.Advance(grant.Grace + time.Second)
		next, o := w.refresh(rt, w.app, rotate)
		if o != grant.Accepted {
			t.Errorf("after the refusals: %s", o)
		}
		rt = next
		w.Clock.Advance(time.Hour)
		if _, o := w.refresh(rt, w.app, rotate); o != grant.Expired {
			t.Errorf("after its idle time: %s", o)
		}
		_, rt = w.family(true)
		for range 30 { // kept in use, the family still ends with the grant
			w.Clock.Advance(50 * time.Minute)
			next, o := w.refresh(rt, w.app, rotate)
			if o != grant.Accepted {
				return
			}
			rt = next
		}
		t.Error("the family outlived its grant")
	})
}

func TestAccessEndsWithWhatItRestsOn(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		jwt := func(g grant.Grant) string {
			s, err := w.verifier.Keys.Signer(context.Background(), w.c, jose.ES256, jose.TypeAccessToken)
			if err != nil {
				t.Fatal(err)
			}
			now := w.Clock.Now()
			tok, err := s.Sign(
				grant.AccessClaims{
					Claims: jose.Claims{
						Issuer:   issuer,
						Subject:  g.User.String(),
						ID:       id.New().String(),
						IssuedAt: jose.At(now),
						Expiry:   jose.At(now.Add(5 * time.Minute)),
					},
					GrantID:     g.ID.String(),
					Application: w.app.String(),
				},
			)
			if err != nil {
				t.Fatal(err)
			}
			return tok
		}
		exec := func(sql string, args ...any) {
			w.update(func(ctx context.Context, tx *db.Tx) error {
				_, err := tx.Exec(ctx, sql, args...)
				return err
			})
		}
		for name, c := range map[string]struct {
			offline bool
			end     func(g grant.Grant)
			undo    func()
			good    bool
		}{
			"nothing": {end: func(grant.Grant) {}, good: true},
			"revoked": {end: func(g grant.Grant) {
				w.update(func(ctx context.Context, tx *db.Tx) error { return grant.Revoke(ctx, tx, g.ID, "test") })
			}},
			"expired": {end: func(grant.Grant) { w.Clock.Advance(5*time.Minute + time.Second) }},
			"user deactivated": {
				end:  func(grant.Grant) { exec(`UPDATE users SET status = 'deactivated' WHERE tenant_id = $1`) },
				undo: func() { exec(`UPDATE users SET status = 'active' WHERE tenant_id = $1`) },
			},
			"session ended": {
				end: func(grant.Grant) {
					exec(`UPDATE sessions SET ended_at = $2 WHERE tenant_id = $1`, w.Clock.Now())
				},
				undo: func() { exec(`UPDATE sessions SET ended_at = NULL WHERE tenant_id = $1`) },
			},
			"session ended, but offline": {
				offline: true,
				end: func(grant.Grant) {
					exec(`UPDATE sessions SET ended_at = $2 WHERE tenant_id = $1`, w.Clock.Now())
				},
				undo: func() { exec(`UPDATE sessions SET ended_at = NULL WHERE tenant_id = $1`) }, good: true,
			},
			"tenant suspended": {
				end:  func(grant.Grant) { exec(`UPDATE tenants SET status = 'suspended' WHERE id = $1`) },
				undo: func() { exec(`UPDATE tenants SET status = 'active' WHERE id = $1`) },
			},
			"every grant of the user ends": {offline: true, end: func(grant.Grant) {
				w.update(func(_ context.Context, tx *db.Tx) error {
					grant.RevokeOfUser(tx, w.user, "test")
					return nil
				})
			}},
		} {
			g, _ := w.grant(c.offline)
			opaque, signed := w.opaque(g).Reveal(), jwt(g)
			if !w.good(opaque) || !w.good(signed) {
				t.Fatalf("%s: not good to begin with", name)
			}
			c.end(g)
			if w.good(opaque) != c.good {
				t.Errorf("%s: opaque good = %v", name, !c.good)
			}
			if w.good(signed) != c.good {
				t.Errorf("%s: JWT good = %v", name, !c.good)
			}
			if c.undo != nil {
				c.undo()
			}
		}
	})
}

// What a machine's JWT rests on is remembered, and forgotten the moment it ends.
func TestAMachinesTokenEndsAtOnce(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		var app application.Application
		w.update(func(ctx context.Context, tx *db.Tx) error {
			var err error
			app, _, err = application.Create(ctx, tx, application.New{Name: "Reports", Type: application.Machine})
			return err
		})
		token := func() (string, grant.Token) {
			s, err := w.verifier.Keys.Signer(ctx, w.c, jose.ES256, jose.TypeAccessToken)
			if err != nil {
				t.Fatal(err)
			}
			now := w.Clock.Now()
			text, err := s.Sign(
				grant.AccessClaims{
					Claims: jose.Claims{
						Issuer:   issuer,
						Subject:  app.ID.String(),
						ID:       id.New().String(),
						IssuedAt: jose.At(now),
						Expiry:   jose.At(now.Add(5 * time.Minute)),
					},
					Application: app.ID.String(),
				},
			)
			if err != nil {
				t.Fatal(err)
			}
			if !w.good(text) {
				t.Fatal("not good to begin with")
			}
			found, err := w.known.Verify(ctx, w.c, text, nil)
			if err != nil {
				t.Fatal(err)
			}
			return text, found
		}
		status := func(s application.Status) {
			w.update(func(ctx context.Context, tx *db.Tx) error {
				_, _, err := application.Update(ctx, tx, role.Everything(), app.ID, application.Patch{Status: &s})
				return err
			})
		}
		kept, _ := token()
		text, found := token()
		w.update(func(_ context.Context, tx *db.Tx) error { grant.RevokeJWT(tx, found, app.ID); return nil })
		if w.good(text) || !w.good(kept) {
			t.Error("revoked: it must end alone and at once")
		}
		status(application.Disabled)
		if w.good(kept) {
			t.Error("its application was disabled")
		}
		status(application.Active)
		set := func(s tenant.Status) {
			w.update(func(ctx context.Context, tx *db.Tx) error { _, err := tenant.SetStatus(ctx, tx, s); return err })
		}
		set(tenant.Suspended)
		if w.good(kept) {
			t.Error("its tenant was suspended")
		}
		set(tenant.Active)
		if !w.good(kept) {
			t.Fatal("all is well again")
		}
		for what, err := range map[string]error{
			"another tenant": second(w.known.Verify(ctx, w.Tenant(t, "globex"), kept, nil)),
			"a longer token": second(w.known.Verify(ctx, w.c, kept+"x", nil)),
		} {
			if !errors.Is(err, grant.ErrToken) {
				t.Errorf("%s: %v", what, err)
			}
		}
		w.Clock.Advance(5*time.Minute + time.Second)
		if w.good(kept) {
			t.Error("it has expired")
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestRevocationReachesOnlyTheCallersOwn(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		other := id.New()
		w.application(other)
		g, rt := w.family(true)
		at := w.opaque(g)
		rev := func(token secret.String, app id.ID) {
			w.update(
				func(ctx context.Context, tx *db.Tx) error {
					return grant.RevokeToken(ctx, tx, w.ring, token.Reveal(), app)
				},
			)
		}
		rev(at, other)
		rev(rt, other)
		rev("nonsense", w.app)
		if !w.good(at.Reveal()) {
			t.Fatal("another application revoked the token")
		}
		second := w.opaque(g)
		if tok, err := w.verifier.Verify(t.Context(), w.c, second.Reveal()); err != nil {
			t.Error(err)
		} else if _, err := id.Parse(tok.ID); err != nil {
			t.Errorf("the id of an opaque token is %q: %v", tok.ID, err)
		}
		rev(at, w.app)
		if w.good(at.Reveal()) || !w.good(second.Reveal()) {
			t.Error("revoking an access token must end it alone")
		}
		rev(rt, w.app)
		rev(rt, w.app)
		if w.good(second.Reveal()) {
			t.Error("revoking a refresh token must end its grant")
		}
	})
}

func TestAJTIIsUsedOncePerTenantAndIssuer(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		use := func(c caller.Caller, issuer string) bool {
			var first bool
			ctx := context.Background()
			if err := w.Update(ctx, c, func(tx *db.Tx) error {
				var err error
				first, err = grant.UseJTI(ctx, tx, issuer, "j1", tx.Now().Add(time.Minute))
				return err
			}); err != nil {
				t.Error(err)
			}
			return first
		}
		won := make([]bool, 16)
		w.Race(t, len(won), func(i int) { won[i] = use(w.c, "client") })
		n := 0
		for _, ok := range won {
			if ok {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d first uses, want 1", n)
		}
		if !use(w.c, "other client") || !use(w.Tenant(t, "globex"), "client") {
			t.Error("a jti is taken by another client's or tenant's use of it")
		}
	})
}

func TestConsentsAddUpAndPurgeKeepsTheLiving(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		for _, s := range [][]string{{"openid"}, {"email", "openid"}} {
			w.update(func(ctx context.Context, tx *db.Tx) error { return grant.Consent(ctx, tx, w.user, w.app, s) })
		}
		var got []string
		w.update(func(ctx context.Context, tx *db.Tx) error {
			var err error
			got, err = grant.Consented(ctx, tx, w.user, w.app)
			return err
		})
		if len(got) != 2 || got[0] != "openid" || got[1] != "email" {
			t.Errorf("consented to %v", got)
		}
		_, old := w.family(true)
		w.Clock.Advance(49 * time.Hour)
		_, fresh := w.family(true)
		w.update(func(ctx context.Context, tx *db.Tx) error {
			more, err := grant.Purge(ctx, tx)
			if more {
				t.Error("more")
			}
			return err
		})
		if _, o := w.refresh(old, w.app, rotate); o != grant.Unknown {
			t.Errorf("the old family: %s", o)
		}
		if _, o := w.refresh(fresh, w.app, rotate); o != grant.Accepted {
			t.Errorf("the living family: %s", o)
		}
	})
}
