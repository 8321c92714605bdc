package user_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A field of Profile needs its declaration and a migration, and nothing else: it is stored, shown,
// changed and named in the audit log by its JSON name.
func TestAProfileFieldIsDeclaredOnce(t *testing.T) {
	// A value of each field that is valid and not what Create was given.
	values := map[string]string{
		"email": `"new@example.com"`, "email_verified": `true`, "username": `"countess"`,
		"profile": `"https://example.com/ada"`, "picture": `"https://example.com/ada.jpg"`,
		"website": `"https://ada.example.com"`, "birthdate": `"1815-12-10"`, "zoneinfo": `"Europe/Zurich"`,
		"locale": `"de-CH"`, "attributes": `{"floor":3}`,
	}
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		ada := create(t, d, c, user.Profile{Email: "ada@example.com"})
		for f := range reflect.TypeFor[user.Profile]().Fields() {
			name := f.Tag.Get("json")
			value := values[name]
			if value == "" && f.Tag.Get("line") == "true" {
				value = `"Lovelace"`
			}
			var body api.Changes[user.Profile]
			if err := json.Unmarshal([]byte(`{"`+name+`":`+value+`}`), &body); err != nil || !body.Has(name) {
				t.Fatalf("%s: a body with %s cannot be read: %v", name, value, err)
			}
			d.Clock.Advance(time.Second) // so that its event is the newest
			changed, err := db.Write(t.Context(), d.DB, c, func(tx *db.Tx) (user.User, error) {
				return user.Update(t.Context(), tx, ada.ID, func(p *user.Profile) { body.Apply(p) })
			})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			stored, err := get(t, d, c, ada.ID)
			if diff := cmp.Diff(changed, stored); err != nil || diff != "" {
				t.Errorf("%s is not stored as it was answered: %v %s", name, err, diff)
			}
			if got := member(t, stored.Profile, name); got != value {
				t.Errorf("%s is %s, want %s", name, got, value)
			}
			events, err := db.Read(t.Context(), d.DB, c, func(tx *db.Tx) (page.List[audit.Record], error) {
				return audit.List(t.Context(), tx, audit.Filter{Action: "user.update"}, page.First())
			})
			if want := `{"changed":{"` + name; err != nil || !strings.HasPrefix(string(events.Items[0].Detail), want) ||
				!strings.Contains(string(events.Items[0].Detail), `"to":`) {
				t.Errorf("the change of %s was audited as %s (%v), want %s", name, events.Items[0].Detail, err, want)
			}
			var view user.View
			if f, ok := reflect.TypeOf(view).FieldByName(f.Name); !ok || f.Tag.Get("json") != name {
				t.Errorf("%s is not shown", name)
			}
		}
	})
}

func member(t *testing.T, p user.Profile, name string) string {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(members[name]))
}
