package application

import (
	"encoding/json"
	"math/rand"
	"reflect"
	"slices"
	"testing"
	"testing/quick"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

func TestAnApplicationThatActsForOthersNeedsMore(t *testing.T) {
	developer := role.SetOf("application.create", "application.update")
	trusting := role.SetOf("application.create", "application.update", "application.trust")
	reading := role.SetOf("application.trust", "user.read", "group.read", "role.read")
	plain := Application{Type: Web, Scopes: []string{"openid"}, RedirectURIs: []string{"https://a.example/cb"}}
	change := func(fn func(a *Application)) *Application {
		a := plain
		fn(&a)
		return &a
	}
	may, mayNot := []role.Set{trusting}, []role.Set{developer}
	mayRead, mayNotRead := []role.Set{reading}, []role.Set{developer, trusting}
	for name, tt := range map[string]struct {
		change    func(a *Application)
		by        []role.Set // who may make it
		notEnough []role.Set
	}{
		"plain":             {func(*Application) {}, []role.Set{{}, developer}, nil},
		"first-party":       {func(a *Application) { a.FirstParty = true }, may, mayNot},
		"manages for users": {func(a *Application) { a.Scopes = []string{ScopeManage} }, may, mayNot},
		"a machine's scope": {func(a *Application) { a.Type, a.Scopes = Machine, []string{ScopeDecide} },
			may, mayNot},
		"a later scope of us": {func(a *Application) { a.Scopes = []string{"gatehouse:later"} }, may, mayNot},
		"decides for users":   {func(a *Application) { a.Scopes = []string{ScopeDecide} }, mayRead, mayNotRead},
		"asks the directory": {func(a *Application) { a.Type, a.PrincipalMode = Machine, FromDirectory },
			mayRead, mayNotRead},
		"is told by mappings": {func(a *Application) { a.Mappings = []Mapping{{Claim: "role", Expression: "roles"}} },
			mayRead, mayNotRead},
		"its own sector": {func(a *Application) { a.SubjectType, a.SectorIdentifier = Pairwise, "A.example" },
			[]role.Set{developer}, nil},
		"a sector by default": {func(a *Application) { a.SubjectType = Pairwise }, []role.Set{developer}, nil},
		"another's sector": {func(a *Application) { a.SubjectType, a.SectorIdentifier = Pairwise, "b.example" },
			may, mayNot},
		"a sector on devices": {func(a *Application) {
			a.SubjectType, a.SectorIdentifier, a.DeviceAuthorization = Pairwise, "a.example", true
		}, may, mayNot},
		"a sector that lists it": {func(a *Application) {
			a.SubjectType, a.SectorIdentifier, a.SectorIdentifierURI = Pairwise, "b.example", "https://b.example/"
		}, []role.Set{developer}, nil},
		"a sector that lists this machine": {func(a *Application) {
			a.SubjectType, a.SectorIdentifier, a.SectorIdentifierURI = Pairwise, "b.example", "https://b.example/"
			a.RedirectURIs = append(slices.Clone(a.RedirectURIs), "http://localhost/cb")
		}, may, mayNot},
	} {
		for _, by := range tt.by {
			if err := mayTrust(by, change(tt.change)); err != nil {
				t.Errorf("%s, by %v: %v", name, by.Actions(), err)
			}
		}
		for _, by := range tt.notEnough {
			if err := mayTrust(by, change(tt.change)); fault.Of(err) != fault.Denied {
				t.Errorf("%s, by %v: %v", name, by.Actions(), err)
			}
		}
	}

	trusted := change(func(a *Application) { a.FirstParty = true })
	for name, fn := range map[string]func(a *Application){
		"redirect URIs": func(a *Application) { a.RedirectURIs = []string{"https://evil.example/cb"} },
		"auth method":   func(a *Application) { a.AuthMethod = AuthNone },
		"keys":          func(a *Application) { a.JWKS = json.RawMessage("{}") },
		"scopes":        func(a *Application) { a.Scopes = []string{"openid", "email"} },
		"no longer":     func(a *Application) { a.FirstParty = false },
	} {
		after := *trusted
		fn(&after)
		if err := mayChange(developer, trusted, &after); fault.Of(err) != fault.Denied {
			t.Errorf("a developer changes a trusted application's %s: %v", name, err)
		}
		if err := mayChange(trusting, trusted, &after); err != nil {
			t.Errorf("%s, by one who may: %v", name, err)
		}
	}
}

// An application that moves to another host keeps its sector, which is then another's.
func TestAPairwiseApplicationThatMovesNeedsTrust(t *testing.T) {
	developer := role.SetOf("application.update")
	before := Application{Type: Web, RedirectURIs: []string{"https://a.example/cb"}, SubjectType: Pairwise,
		SectorIdentifier: "a.example"}
	after := before
	after.RedirectURIs = []string{"https://a.example/cb", "https://evil.example/cb"}
	if err := mayChange(developer, &before, &after); fault.Of(err) != fault.Denied {
		t.Errorf("moved: %v", err)
	}
	after = before
	after.Name = "Renamed"
	if err := mayChange(developer, &before, &after); err != nil {
		t.Errorf("renamed: %v", err)
	}
}

// A developer changes no field of a trusted application, also none that is declared later. Only
// disabling is free.
func TestEveryFieldOfATrustedApplicationIsGuarded(t *testing.T) {
	developer, trusting := role.SetOf("application.update"), role.SetOf("application.update", "application.trust")
	trusted := Application{Name: "Console", Status: Disabled, Type: Web, FirstParty: true}
	random := rand.New(rand.NewSource(1))
	for f := range reflect.TypeFor[Application]().Fields() {
		after := trusted
		field := reflect.ValueOf(&after).Elem().FieldByIndex(f.Index)
		for reflect.DeepEqual(trusted, after) {
			if f.Type == reflect.TypeFor[time.Time]() {
				field.Set(reflect.ValueOf(time.Unix(1, 0)))
				continue
			}
			v, ok := quick.Value(f.Type, random)
			if !ok {
				t.Fatalf("%s: the test has no value of %s", f.Name, f.Type)
			}
			field.Set(v)
		}
		if err := mayChange(developer, &trusted, &after); fault.Of(err) != fault.Denied {
			t.Errorf("a developer changes %s: %v", f.Name, err)
		}
		by := trusting
		if f.Name == "Mappings" { // they tell of the directory
			by = role.SetOf("application.update", "application.trust", "user.read", "group.read", "role.read")
		}
		if err := mayChange(by, &trusted, &after); err != nil {
			t.Errorf("one who may trust changes %s: %v", f.Name, err)
		}
	}

	active := trusted
	active.Status = Active
	if err := mayChange(developer, &active, &trusted); err != nil {
		t.Errorf("a developer disables it: %v", err)
	}
	renamed := trusted
	renamed.Name = "Diary"
	if err := mayChange(developer, &active, &renamed); fault.Of(err) != fault.Denied {
		t.Errorf("a developer disables it with another name: %v", err)
	}
}
