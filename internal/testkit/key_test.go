package testkit

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// A database that rotates has three RSA keys. They differ, whatever another test draws meanwhile.
func TestTheKeysOfADatabaseDiffer(t *testing.T) {
	draw := func(database string) *jose.PrivateKey {
		t.Helper()
		key, err := KeysOf(database)(jose.RS256)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	mine := map[*jose.PrivateKey]bool{}
	for range 3 {
		mine[draw("mine")] = true
		for range len(rsaKeys) - 1 {
			draw("another")
		}
	}
	if len(mine) != 3 {
		t.Errorf("%d different keys of 3", len(mine))
	}
}
