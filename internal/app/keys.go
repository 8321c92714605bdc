package app

import (
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

type newKeyCommand struct {
	ID string `arg:"" optional:"" default:"k1" help:"Id of the key, unique in its ring. Default k1."`
}

// Run prints a key. The first key of a ring seals secrets, and the others still open them.
func (c *newKeyCommand) Run(e *env) error {
	key := secret.NewKey(c.ID)
	if _, err := secret.ParseKeyRing(key); err != nil {
		return err
	}
	fmt.Fprintln(e.out, key.Reveal())
	return nil
}

type rotateKeysCommand struct {
	Tenant    string `required:"" placeholder:"SLUG" help:"Tenant of the keys."`
	Algorithm string `default:"ES256" enum:"ES256,RS256,EdDSA" help:"Algorithm of the keys: ES256, RS256 or EdDSA. Default ES256."`
	Withdraw  bool   `help:"Withdraw the key that signs now instead of retiring it: no token that it signed counts any longer."`
	recovery  `embed:""`
}

// Run rotates the keys and prints the id of the new one.
func (c *rotateKeysCommand) Run(e *env) error {
	a, err := c.open(e)
	if err != nil {
		return err
	}
	defer a.Close()
	caller, err := a.operator(e.ctx, c.Tenant)
	if err != nil {
		return err
	}
	if err := a.seal(e.ctx); err != nil {
		return err
	}
	if c.Withdraw {
		gone, key, err := a.Keys.WithdrawCurrent(e.ctx, caller, jose.Algorithm(c.Algorithm))
		if err != nil {
			return err
		}
		fmt.Fprintf(e.out, "Key %s now signs for %s in tenant %s. Key %s is withdrawn: no token that it signed "+
			"counts any longer.\n", key.ID, c.Algorithm, c.Tenant, gone)
		return nil
	}
	key, err := a.Keys.Rotate(e.ctx, caller, jose.Algorithm(c.Algorithm))
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "Key %s now signs for %s in tenant %s. The previous key still verifies.\n",
		key.ID, c.Algorithm, c.Tenant)
	return nil
}
