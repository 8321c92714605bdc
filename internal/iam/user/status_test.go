package user

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

func TestANewUserIsInvitedOrActive(t *testing.T) {
	for status, ok := range map[Status]bool{
		"": true, Invited: true, Active: true, Locked: false, Deactivated: false, "x": false,
	} {
		_, err := createBody{Status: status}.adder(false)
		if (err == nil) != ok || !ok && (fault.Of(err) != fault.Invalid || fault.As(err).Fields[0].Name != "status") {
			t.Errorf("%q: %v", status, err)
		}
	}
}
