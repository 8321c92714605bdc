package app

import (
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

type newKeyCommand struct {
	ID string `arg:"" optional:"" default:"k1" help:"Id of the key; each key of a ring has its own."`
}

// Run prints a key. On a ring the first line seals, the others still open.
func (c *newKeyCommand) Run(e *env) error {
	key := secret.NewKey(c.ID)
	if _, err := secret.ParseKeyRing(key); err != nil {
		return err
	}
	fmt.Fprintln(e.out, key.Reveal())
	return nil
}

type rotateKeysCommand struct {
	config.Flags `embed:""`
	Tenant       string `required:"" placeholder:"SLUG" help:"Whose keys."`
	Algorithm    string `default:"ES256" enum:"ES256,RS256,EdDSA" help:"Which keys: ES256, RS256 or EdDSA."`
}

// Run rotates and says which key signs from now on.
func (c *rotateKeysCommand) Run(e *env) error {
	a, err := e.open(c.Flags)
	if err != nil {
		return err
	}
	defer a.Close()
	caller, err := a.operator(e.ctx, c.Tenant)
	if err != nil {
		return err
	}
	kid, err := a.Keys.Rotate(e.ctx, caller, jose.Algorithm(c.Algorithm))
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s of tenant %s is now signed with key %s; the key before it still verifies.\n", c.Algorithm, c.Tenant, kid)
	return nil
}
