package invitation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/invitation"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var ctx = context.Background()

// at is the site of the tests' links.
func at() invitation.Site {
	return invitation.Site{Tenant: &tenant.Tenant{Name: "Acme"}, Base: "https://id.example.com/t/acme"}
}

// invite makes an invitation without a mail, and returns its token.
func invite(d *testkit.Database, c caller.Caller, by role.Set, n invitation.New) (string, error) {
	link, err := db.Write(ctx, d.DB, c, func(tx *db.Tx) (string, error) {
		_, link, err := invitation.Invite(ctx, tx, by, at(), nil, n)
		return link, err
	})
	_, token, _ := strings.Cut(link, "?token=")
	return token, err
}

var person = invitation.Person{GivenName: "Ada", FamilyName: "Lovelace", Locale: "en",
	Password: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"}

func accept(d *testkit.Database, c caller.Caller, token string) (user.User, error) {
	return db.Write(ctx, d.DB, c, func(tx *db.Tx) (user.User, error) {
		return invitation.Accept(ctx, tx, token, person)
	})
}

func read[T any](t *testing.T, d *testkit.Database, c caller.Caller, fn func(tx *db.Tx) (T, error)) T {
	t.Helper()
	v, err := db.Read(ctx, d.DB, c, fn)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// custom defines a role with some actions.
func custom(t *testing.T, d *testkit.Database, c caller.Caller, name string, actions ...string) {
	t.Helper()
	if err := d.Update(ctx, c, func(tx *db.Tx) error {
		_, err := role.Create(ctx, tx, role.Everything(), role.Definition{Name: name, Actions: actions})
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func newGroup(t *testing.T, d *testkit.Database, c caller.Caller, name string, roles ...string) id.ID {
	t.Helper()
	g, err := db.Write(ctx, d.DB, c, func(tx *db.Tx) (group.Group, error) {
		g, err := group.Create(ctx, tx, group.Profile{Name: name})
		for _, r := range roles {
			if err == nil {
				err = role.Assign(ctx, tx, role.Everything(), role.OfGroup(g.ID), r, time.Time{})
			}
		}
		return g, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return g.ID
}

func statuses(t *testing.T, d *testkit.Database, c caller.Caller) []invitation.Status {
	t.Helper()
	return read(t, d, c, func(tx *db.Tx) ([]invitation.Status, error) {
		l, err := invitation.List(ctx, tx, invitation.Filter{}, page.First())
		var all []invitation.Status
		for _, i := range l.Items {
			all = append(all, i.StatusAt(tx.Now()))
		}
		return all, err
	})
}

// Accepting makes an active user with a verified address and all that the invitation gives. What
// was deleted meanwhile is left out, and a new role of the same name is another role.
func TestAccept(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		custom(t, d, c, "support", "user.read")
		custom(t, d, c, "gone")
		sales, closed := newGroup(t, d, c, "Sales", "auditor"), newGroup(t, d, c, "Closed")
		token, err := invite(d, c, role.Everything(), invitation.New{Email: "Ada@Acme.example", Locale: "de",
			Roles: []string{"support", "gone", "developer"}, Groups: []id.ID{sales, closed}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Update(ctx, c, func(tx *db.Tx) error {
			none := func(id.ID) audit.Target { return audit.Target{} }
			if err := role.Delete(ctx, tx, role.Everything(), "gone", none); err != nil {
				return err
			}
			return group.Delete(ctx, tx, role.ForGroups(), role.Everything(), closed)
		}); err != nil {
			t.Fatal(err)
		}
		custom(t, d, c, "gone", "tenant.delete")
		u, err := accept(d, c, token)
		if err != nil {
			t.Fatal(err)
		}
		if u.Status != user.Active || !u.EmailVerified || u.Email != "Ada@Acme.example" || u.Locale != "de" {
			t.Errorf("the user is %+v", u)
		}
		roles := read(t, d, c, func(tx *db.Tx) ([]string, error) { return role.NamesOf(ctx, tx, role.OfUser(u.ID)) })
		if !slices.Equal(roles, []string{"developer", "support"}) {
			t.Errorf("roles %v", roles)
		}
		groups := read(t, d, c, func(tx *db.Tx) (page.List[group.Group], error) {
			return group.OfUser(ctx, tx, u.ID, page.First())
		})
		if len(groups.Items) != 1 || groups.Items[0].ID != sales {
			t.Errorf("groups %+v", groups.Items)
		}
		events := read(t, d, c, func(tx *db.Tx) (page.List[audit.Record], error) {
			return audit.List(ctx, tx, audit.Filter{Action: "invitation.accept"}, page.First())
		})
		if len(events.Items) != 1 ||
			!strings.Contains(string(events.Items[0].Detail), `"gone":["gone","`+closed.String()) ||
			!strings.Contains(string(events.Items[0].Detail), u.ID.String()) {
			t.Errorf("events %+v", events.Items)
		}
		if _, err := accept(d, c, token); !errors.Is(err, invitation.ErrNotFound) {
			t.Errorf("accepted again: %v", err)
		}
	})
}

// One of 16 who accept an invitation at once becomes a user. The link of another tenant, and of an
// invitation that has ended, accepts nothing.
func TestOneOfManyAccepts(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, other := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		token, err := invite(d, c, role.Everything(), invitation.New{Email: "ada@acme.example"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := accept(d, other, token); !errors.Is(err, invitation.ErrNotFound) {
			t.Errorf("another tenant: %v", err)
		}
		errs := make([]error, 16)
		d.Race(t, len(errs), func(i int) { _, errs[i] = accept(d, c, token) })
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, invitation.ErrNotFound):
				t.Errorf("a loser gets %v", err)
			}
		}
		users := read(t, d, c, func(tx *db.Tx) (int64, error) {
			return db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM users WHERE tenant_id = $1`)
		})
		if won != 1 || users != 1 {
			t.Errorf("%d won and there are %d users, want 1", won, users)
		}
	})
}

// An address has one open invitation, however many are made at once. The next replaces it, and its
// link no longer works.
func TestTheNextInvitationReplaces(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		errs := make([]error, 16)
		d.Race(t, len(errs), func(i int) {
			_, errs[i] = invite(d, c, role.Everything(), invitation.New{Email: "ada@acme.example"})
		})
		for _, err := range errs {
			if err != nil && fault.As(err).Code != "invitation.concurrent" {
				t.Error(err)
			}
		}
		pending := 0
		for _, s := range statuses(t, d, c) {
			if s == invitation.Pending {
				pending++
			}
		}
		if pending != 1 {
			t.Errorf("%d invitations are pending", pending)
		}
		old, err := invite(d, c, role.Everything(), invitation.New{Email: "ada@acme.example"})
		if err != nil {
			t.Fatal(err)
		}
		token, err := invite(d, c, role.Everything(), invitation.New{Email: "ADA@acme.example"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := accept(d, c, old); !errors.Is(err, invitation.ErrNotFound) {
			t.Errorf("the replaced link: %v", err)
		}
		if _, err := accept(d, c, token); err != nil {
			t.Errorf("the newest link: %v", err)
		}
		if _, err := invite(d, c, role.Everything(), invitation.New{Email: "ada@acme.example"}); !errors.Is(err,
			invitation.ErrUserExists) {
			t.Errorf("the address of a user: %v", err)
		}
	})
}

// A caller gives by an invitation what the caller could give to a user, and no more. The same right
// is needed to replace the invitation of another caller.
func TestInviteGivesNoMoreThanTheCallerMay(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		custom(t, d, c, "support", "user.read")
		plain, owners := newGroup(t, d, c, "Sales"), newGroup(t, d, c, "Owners", "owner")
		manager := role.SetOf("invitation.create", "user.read", "role.grant", "role.update", "group.member")
		type given struct {
			by role.Set
			n  invitation.New
		}
		const beyond, wrong = "role.beyond_own", "invitation.invalid"
		roles := func(names ...string) invitation.New { return invitation.New{Roles: names} }
		groups := func(ids ...id.ID) invitation.New { return invitation.New{Groups: ids} }
		for name, tt := range map[string]struct {
			given
			code string
		}{
			"within": {given{manager,
				invitation.New{Roles: []string{"support"}, Groups: []id.ID{plain}}}, ""},
			"a role beyond":           {given{manager, roles("owner")}, beyond},
			"a group beyond":          {given{manager, groups(owners)}, beyond},
			"without role.grant":      {given{role.SetOf("user.read", "role.update"), roles("support")}, beyond},
			"without group.member":    {given{role.SetOf("role.grant"), groups(plain)}, "action.denied"},
			"no such role":            {given{manager, roles("nothing")}, "role.invalid"},
			"no such group":           {given{manager, groups(id.New())}, wrong},
			"nothing":                 {given{role.SetOf(), invitation.New{}}, ""},
			"no address":              {given{manager, invitation.New{Email: "ada"}}, wrong},
			"a name that is too long": {given{manager, invitation.New{GivenName: strings.Repeat("x", 200)}}, wrong},
			"a language":              {given{manager, invitation.New{Locale: "!!"}}, wrong},
			"a lifetime":              {given{manager, invitation.New{Lifetime: time.Second}}, wrong},
		} {
			if tt.n.Email == "" {
				tt.n.Email = strings.ReplaceAll(name, " ", ".") + "@acme.example"
			}
			_, err := invite(d, c, tt.by, tt.n)
			if tt.code == "" && err != nil || tt.code != "" && (err == nil || fault.As(err).Code != tt.code) {
				t.Errorf("%s: %v, want %s", name, err, tt.code)
			}
		}
		if _, err := invite(d, c, role.Everything(), invitation.New{Email: "olga@acme.example",
			Roles: []string{"owner"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := invite(d, c, manager, invitation.New{Email: "olga@acme.example"}); fault.Of(err) != fault.Denied {
			t.Errorf("a manager replaces an owner's invitation: %v", err)
		}
	})
}

// Mails to one address are limited, also over replaced invitations, and links that are passed on
// are not mails.
func TestMailsToOneAddressAreLimited(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	c := d.Tenant(t, "acme")
	mailed := 0
	mail := func(*db.Tx, invitation.Site, invitation.Invitation, string) error { mailed++; return nil }
	var err error
	for range 4 {
		err = d.Update(ctx, c, func(tx *db.Tx) error {
			_, _, err := invitation.Invite(ctx, tx, role.Everything(), at(), mail,
				invitation.New{Email: "ada@acme.example"})
			return err
		})
	}
	if mailed != 3 || err == nil || fault.As(err).Code != "invitation.too_many_mails" {
		t.Errorf("%d mails, then %v", mailed, err)
	}
	if got := statuses(t, d, c); len(got) != 3 || got[0] != invitation.Pending {
		t.Errorf("the refused call left %v", got)
	}
	if _, err := invite(d, c, role.Everything(), invitation.New{Email: "ada@acme.example"}); err != nil {
		t.Errorf("without a mail: %v", err)
	}
}

// Housekeeping deletes what ended long ago, and nothing else.
func TestPurge(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		for n, life := range []time.Duration{5 * time.Minute, 30 * 24 * time.Hour} {
			if _, err := invite(d, c, role.Everything(), invitation.New{Email: fmt.Sprintf("u%d@acme.example", n),
				Lifetime: life}); err != nil {
				t.Fatal(err)
			}
		}
		purge := func() []invitation.Status {
			if _, err := db.Write(ctx, d.DB, c, func(tx *db.Tx) (bool, error) {
				return invitation.Purge(ctx, tx, 10)
			}); err != nil {
				t.Fatal(err)
			}
			return statuses(t, d, c)
		}
		if got := purge(); !slices.Equal(got, []invitation.Status{invitation.Pending, invitation.Pending}) {
			t.Errorf("at first %v", got)
		}
		d.Clock.Advance(31 * 24 * time.Hour)
		if got := purge(); !slices.Equal(got, []invitation.Status{invitation.Expired}) {
			t.Errorf("after a month %v", got)
		}
	})
}
