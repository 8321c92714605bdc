package oidc

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// respell replaces each name in place by the identifier that the API is registered with. An API
// without a path has two spellings. The grant and its tokens know one of them. A name that is not
// registered stays: api refuses it.
func (d *Door) respell(ctx context.Context, c caller.Caller, named []string) error {
	for i, uri := range named {
		a, err := d.APIs.ByIdentifier(ctx, c, uri)
		switch {
		case err == nil:
			named[i] = a.Identifier
		case fault.Of(err) != fault.NotFound:
			return err
		}
	}
	return nil
}
