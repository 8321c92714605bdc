package signin

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// before is a flow as the version before stored it, with a password and a code proved.
const before = `{"kind":"authorize","application":"01a2293f-11bd-7a74-acbe-ffb73dfc1822",` +
	`"request":"eyJzdGF0ZSI6IngifQ==","return_to":"/oauth2/authorize/continue","login_hint":"","locales":["de"],` +
	`"reauthenticate":false,"max_age":90000000000,"require_mfa":false,"consent_scopes":["openid"],` +
	`"force_consent":false,"post_logout_name":"","user":"01a2293f-11bd-7a76-842a-f058c3fb1063",` +
	`"amr":["pwd","otp"],"auth_time":"2026-01-01T12:00:00.123456Z","session":"","consented":false,"denied":false,` +
	`"refused":false,"signed_out":false,"registered":""}`

// A proof of the version before counts only if its credential is not newer.
func TestFlowsOfTheVersionBefore(t *testing.T) {
	proved := time.Date(2026, 1, 1, 12, 0, 0, 123456000, time.UTC)
	earlier, later := proved.Add(-time.Hour), proved.Add(time.Microsecond)
	for name, tt := range map[string]struct {
		has  credential.Summary
		amr  []string
		next Step
	}{
		"unchanged": {credential.Summary{PasswordChangedAt: earlier, TOTPSince: earlier},
			[]string{"pwd", "otp", "mfa"}, StartSession},
		"set and proved at once": {credential.Summary{PasswordChangedAt: proved, TOTPSince: proved},
			[]string{"pwd", "otp", "mfa"}, StartSession},
		"another password since": {credential.Summary{PasswordChangedAt: later, TOTPSince: earlier},
			[]string{"otp"}, AskPassword},
		"another authenticator since": {credential.Summary{PasswordChangedAt: earlier, TOTPSince: later},
			[]string{"pwd"}, AskTOTP},
		"no authenticator left": {credential.Summary{PasswordChangedAt: earlier}, []string{"pwd"}, StartSession},
	} {
		var f Flow
		if err := json.Unmarshal([]byte(before), &f); err != nil {
			t.Fatal(err)
		}
		if f.Kind != Authorize || *f.MaxAge != 90*time.Second || string(f.Request) != `{"state":"x"}` ||
			f.User.IsZero() {
			t.Fatalf("read as %+v", f)
		}
		f.bindProofs(user.User{}, tt.has, time.Time{})
		if got := f.amr(); !slices.Equal(got, tt.amr) {
			t.Errorf("%s: amr %v, want %v", name, got, tt.amr)
		}
		if got := Next(f, Facts{Credentials: tt.has}); got != tt.next {
			t.Errorf("%s: %s, want %s", name, got, tt.next)
		}
		if tt.next == StartSession && !f.authTime().Equal(proved) {
			t.Errorf("%s: proved at %s, want %s", name, f.authTime(), proved)
		}
	}
}

// The version before reads two fields, and drops the proofs when it saves the flow.
func TestFlowsForTheVersionBefore(t *testing.T) {
	u, at := id.New(), changed.Add(time.Hour)
	f := Flow{Demand: Demand{Kind: Account, ReturnTo: "/account"}, User: u}
	f.prove(user.User{ID: u}, Password, at)
	f.prove(user.User{ID: u}, Recovery, at.Add(time.Minute))
	has := credential.Summary{PasswordChangedAt: changed, TOTPSince: changed}
	f.bindProofs(user.User{}, has, time.Time{})
	stored, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var there map[string]any
	if err := json.Unmarshal(stored, &there); err != nil {
		t.Fatal(err)
	}
	var old struct {
		Kind     Kind      `json:"kind"`
		AMR      []string  `json:"amr"`
		AuthTime time.Time `json:"auth_time"`
	}
	if err := json.Unmarshal(stored, &old); err != nil {
		t.Fatal(err)
	}
	if old.Kind != Account || !slices.Equal(old.AMR, []string{"pwd", "otp", "mfa"}) || !old.AuthTime.Equal(at) {
		t.Errorf("the version before reads %+v", old)
	}

	var again Flow
	if err := json.Unmarshal(stored, &again); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.Proofs, f.Proofs) {
		t.Errorf("read as %+v, want the proofs %+v", again.Proofs, f.Proofs)
	}

	delete(there, "proofs")
	stored, err = json.Marshal(there)
	if err != nil {
		t.Fatal(err)
	}
	var back Flow
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	back.bindProofs(user.User{}, has, time.Time{})
	if back.acr() != TwoFactors || !back.authTime().Equal(at) || back.ReturnTo != "/account" {
		t.Errorf("after a step of the version before: %+v", back)
	}
}
