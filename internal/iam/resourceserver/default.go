package resourceserver

import (
	"context"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// CheckDefault fails with a fault that names default_api, unless an application may ask for the API
// that it has by default. The rule is asked again for each token, because the API may change or go.
func CheckDefault(ctx context.Context, tx *db.Tx, app *application.Application) error {
	if app.DefaultAPI == "" {
		return nil
	}
	ours := BuiltIn(web.SiteIn(ctx).Base)
	i := slices.IndexFunc(ours, func(a API) bool { return a.Identifier == app.DefaultAPI })
	var api API
	var err error
	if i >= 0 {
		api = ours[i]
	} else {
		api, err = ByIdentifier(ctx, tx, app.DefaultAPI)
	}
	if fault.Of(err) == fault.NotFound || err == nil && !api.Admits(app) {
		return fault.InvalidField("application.invalid", "default_api", "There is no API with this identifier, or the "+
			"application may not ask for it: it needs one of the API's scopes, or a place in its list.")
	}
	return err
}
