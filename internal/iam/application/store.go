package application

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

const columns = `id, client_id, name, type, status, auth_method, secret_hash, previous_secret_hash, previous_secret_until,
	redirect_uris, post_logout_redirect_uris, scopes, access_token, id_token_alg, jwks, token_endpoint_audience,
	first_party, rotation, principal_mode, access_token_lifetime, id_token_lifetime, refresh_token_idle, refresh_token_max,
	coalesce(allow_unbound_code, auth_method <> 'none' AND type <> 'machine'), earlier_id_token_alg,
	jwks_uri, created_at, updated_at, claims, backchannel_logout_uri, inspects_tenant AND type = 'machine',
	mappings, subject_type, sector_identifier, device_authorization,
	frontchannel_logout_uri, frontchannel_logout_session, sector_identifier_uri,
	default_api, generation`

func scanApplication(row db.Row) (Application, error) {
	var a Application
	var redirects, logouts, scopes, jwks, claims, mappings string
	var at, it, idle, maximum int64
	if err := row.Scan(&a.ID, &a.ClientID, &a.Name, &a.Type, &a.Status, &a.AuthMethod,
		&a.SecretHash, &a.PreviousSecretHash, &a.PreviousSecretUntil, &redirects, &logouts, &scopes,
		&a.AccessToken, &a.IDTokenAlg, &jwks, &a.TokenEndpointAudience, &a.FirstParty, &a.Rotation, &a.PrincipalMode,
		&at, &it, &idle, &maximum, &a.AllowUnboundCode, &a.EarlierIDTokenAlg, &a.JWKSURI,
		&a.CreatedAt, &a.UpdatedAt, &claims, &a.BackchannelLogoutURI, &a.InspectsTenant,
		&mappings, &a.SubjectType, &a.SectorIdentifier, &a.DeviceAuthorization,
		&a.FrontchannelLogout.URI, &a.FrontchannelLogout.Session, &a.SectorIdentifierURI, &a.DefaultAPI,
		&a.Generation); err != nil {
		return Application{}, err
	}
	for _, l := range []struct {
		text string
		to   any
	}{{redirects, &a.RedirectURIs}, {logouts, &a.PostLogoutRedirectURIs}, {scopes, &a.Scopes}, {claims, &a.Claims},
		{mappings, &a.Mappings}} {
		if err := json.Unmarshal([]byte(l.text), l.to); err != nil {
			return Application{}, fmt.Errorf("application %s: %w", a.ID, err)
		}
	}
	if jwks != "" {
		a.JWKS = json.RawMessage(jwks)
	}
	a.Lifetimes = lifetimes(at, it, idle, maximum)
	return a, nil
}

// values returns the columns that can change, in the order of insert and update.
func (a *Application) values() []any {
	asJSON := func(v any) string {
		b, _ := json.Marshal(v) // texts and flags always marshal
		return string(b)
	}
	l := a.Lifetimes
	return []any{a.Name, string(a.Status), string(a.AuthMethod),
		a.SecretHash, a.PreviousSecretHash, a.PreviousSecretUntil,
		asJSON(a.RedirectURIs), asJSON(a.PostLogoutRedirectURIs), asJSON(a.Scopes),
		string(a.AccessToken), a.IDTokenAlg, string(a.JWKS), a.TokenEndpointAudience,
		a.FirstParty, a.Rotation, string(a.PrincipalMode),
		seconds(l.AccessToken), seconds(l.IDToken), seconds(l.RefreshIdle), seconds(l.RefreshMax),
		a.AllowUnboundCode, a.UpdatedAt, a.EarlierIDTokenAlg, a.JWKSURI, asJSON(a.Claims),
		a.BackchannelLogoutURI, a.InspectsTenant, asJSON(a.Mappings),
		string(a.SubjectType), a.SectorIdentifier, a.DeviceAuthorization,
		a.FrontchannelLogout.URI, a.FrontchannelLogout.Session, a.SectorIdentifierURI, a.DefaultAPI}
}

// Create adds an application. It returns the application's secret, if it has one: this is the only
// time that it is shown. It fails with a fault that names every wrong field, or with
// ErrClientIDTaken.
func Create(ctx context.Context, tx *db.Tx, n New) (Application, secret.String, error) {
	a, err := n.checked()
	if err != nil {
		return Application{}, "", err
	}
	a.CreatedAt, a.UpdatedAt = tx.Now(), tx.Now()
	if err := n.Sector.shows(&a); err != nil {
		return Application{}, "", err
	}
	if err := tenant.TakePlace(ctx, tx, tenant.LimitApplications, func() (int64, error) {
		return db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM applications WHERE tenant_id = $1`)
	}); err != nil {
		return Application{}, "", err
	}
	shown := n.Secret
	if a.AuthMethod.Secret() && shown.IsZero() {
		shown, a.SecretHash = secret.NewToken(secret.ClientSecret, tx.Tenant())
	} else if a.AuthMethod.Secret() {
		a.SecretHash = secret.HashOf(shown)
	}
	args := append([]any{a.ID, a.ClientID, string(a.Type), a.CreatedAt}, a.values()...)
	_, err = tx.Exec(ctx, `INSERT INTO applications (tenant_id, id, client_id, type, created_at,
		name, status, auth_method, secret_hash, previous_secret_hash, previous_secret_until,
		redirect_uris, post_logout_redirect_uris, scopes, access_token, id_token_alg, jwks, token_endpoint_audience,
		first_party, rotation, principal_mode,
		access_token_lifetime, id_token_lifetime, refresh_token_idle, refresh_token_max, allow_unbound_code, updated_at,
		earlier_id_token_alg, jwks_uri, claims, backchannel_logout_uri, inspects_tenant, mappings,
		subject_type, sector_identifier, device_authorization,
		frontchannel_logout_uri, frontchannel_logout_session, sector_identifier_uri, default_api)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
			$21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40)`, args...)
	if db.IsConflict(err, "applications", "client_id") {
		return Application{}, "", ErrClientIDTaken
	}
	if err != nil {
		return Application{}, "", err
	}
	audit.Write(tx, audit.Event{
		Action: "application.create", Target: a.Target(),
		Changed: audit.Changed(nil, a.fields()).With("secret", nil, audit.Digest(a.SecretHash)),
	})
	tenant.Touch(tx)
	return a, shown, nil
}

// Get returns an application by its id, or ErrNotFound.
func Get(ctx context.Context, tx *db.Tx, application id.ID) (Application, error) {
	return found(db.One(ctx, tx, scanApplication,
		`SELECT `+columns+` FROM applications WHERE tenant_id = $1 AND id = $2`, application))
}

// hold is Get for an application that is about to change: its row is locked until the transaction
// ends.
func hold(ctx context.Context, tx *db.Tx, application id.ID) (Application, error) {
	return found(db.One(ctx, tx, scanApplication,
		`UPDATE applications SET updated_at = updated_at WHERE tenant_id = $1 AND id = $2 RETURNING `+columns,
		application))
}

// ByClientID returns an application by its client_id, or ErrNotFound.
func ByClientID(ctx context.Context, tx *db.Tx, clientID string) (Application, error) {
	return found(db.One(ctx, tx, scanApplication,
		`SELECT `+columns+` FROM applications WHERE tenant_id = $1 AND client_id = $2`, clientID))
}

func found(a Application, err error) (Application, error) {
	if errors.Is(err, db.ErrNoRows) {
		return Application{}, ErrNotFound
	}
	return a, err
}

// Names reports whether an application of the tenant has its ID tokens signed with an algorithm.
func Names(ctx context.Context, tx *db.Tx, idTokenAlg string) (bool, error) {
	n, err := db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM (SELECT 1 FROM applications
		WHERE tenant_id = $1 AND id_token_alg = $2 LIMIT 1) a`, idTokenAlg)
	return n > 0, err
}

// filterable are the attributes by which a policy may restrict the list.
var filterable = filter.Columns{"id": {SQL: "id", Kind: filter.ID}}

// list returns a page of the tenant's applications that visible includes, oldest first.
func list(ctx context.Context, tx *db.Tx, visible filter.Filter, p page.Request) (page.List[Application], error) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	query := `SELECT ` + columns + ` FROM applications WHERE tenant_id = $1`
	limit, err := visible.SQL(filterable, arg)
	if err != nil {
		return page.List[Application]{}, err
	}
	query += limit
	if !p.After.IsZero() {
		query += ` AND id > ` + arg(p.After)
	}
	query += ` ORDER BY id LIMIT ` + arg(p.Fetch())
	rows, err := db.List(ctx, tx, scanApplication, query, args...)
	if err != nil {
		return page.List[Application]{}, err
	}
	return page.Of(p, rows, func(a Application) id.ID { return a.ID }), nil
}

// Update changes an application. by are the rights of the caller. An application with more rights
// is out of reach: Update fails with role.ErrOutranked. A change to a method with a secret
// generates one, which Update returns.
func Update(
	ctx context.Context, tx *db.Tx, by role.Set, application id.ID, p Patch,
) (Application, secret.String, error) {
	a, err := manage(ctx, tx, by, application)
	if err != nil {
		return Application{}, "", err
	}
	before := a
	p.apply(&a)
	if a.IDTokenAlg != before.IDTokenAlg {
		a.EarlierIDTokenAlg = before.IDTokenAlg
	}
	if err := a.check(""); err != nil {
		return Application{}, "", err
	}
	if a.namesOtherURIs(&before) {
		if err := p.Sector.shows(&a); err != nil {
			return Application{}, "", err
		}
	}
	if err := mayChange(by, &before, &a); err != nil {
		return Application{}, "", err
	}
	var shown secret.String
	switch {
	case !a.AuthMethod.Secret():
		a.SecretHash, a.PreviousSecretHash, a.PreviousSecretUntil = nil, nil, time.Time{}
	case a.SecretHash == nil:
		shown, a.SecretHash = secret.NewToken(secret.ClientSecret, tx.Tenant())
	}
	return a, shown, write(ctx, tx, before, &a, "application.update", nil)
}

// maxKeep is how long the previous secret may stay valid.
const maxKeep = 7 * 24 * time.Hour

// rotateSecret replaces an application's secret. It returns the new one, which is never shown
// again. The previous one stays valid for keep, which is at most maxKeep.
func rotateSecret(
	ctx context.Context, tx *db.Tx, by role.Set, application id.ID, keep time.Duration,
) (Application, secret.String, error) {
	if keep < 0 || keep > maxKeep {
		return Application{}, "", fault.InvalidField("application.invalid", "keep_seconds",
			"The previous secret can stay valid for 0 to %d seconds.", maxKeep/time.Second)
	}
	a, err := manage(ctx, tx, by, application)
	if err != nil {
		return Application{}, "", err
	}
	if err := mayTrust(by, &a); err != nil {
		return Application{}, "", err
	}
	if !a.AuthMethod.Secret() {
		return Application{}, "", errNoSecret
	}
	before := a
	a.PreviousSecretHash, a.PreviousSecretUntil = nil, time.Time{}
	if keep > 0 {
		a.PreviousSecretHash, a.PreviousSecretUntil = a.SecretHash, tx.Now().Add(keep)
	}
	var shown secret.String
	shown, a.SecretHash = secret.NewToken(secret.ClientSecret, tx.Tenant())
	return a, shown, write(ctx, tx, before, &a, "application.rotate_secret", nil)
}

// Delete removes an application and everything that it holds: roles, consents, grants, tokens.
func Delete(ctx context.Context, tx *db.Tx, by role.Set, application id.ID) error {
	a, err := manage(ctx, tx, by, application)
	if err != nil {
		return err
	}
	if err := mayTrust(by, &a); err != nil {
		return err
	}
	roles, err := role.NamesOf(ctx, tx, a.Subject())
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `DELETE FROM applications WHERE tenant_id = $1 AND id = $2`, a.ID)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNotFound
	}
	audit.Write(tx, audit.Event{Action: "application.delete", Target: a.Target(),
		Changed: audit.Changed(a.fields(), nil).With("roles", roles, nil)})
	tenant.Touch(tx)
	tenant.PrincipalsChanged(tx)
	return nil
}

// Serve records that an application becomes or stops being the API with an identifier. Both change
// how the application works, so they need the rights of an update. A server inspects no tokens for
// the tenant. That lasts when it stops being one: only an update of the application ends it.
func Serve(ctx context.Context, tx *db.Tx, by role.Set, application id.ID, identifier string, becomes bool) error {
	a, err := manage(ctx, tx, by, application)
	if err != nil {
		return err
	}
	if !by.AllowsOn("application.update", application) {
		return api.Denied("application.update")
	}
	if err := mayTrust(by, &a); err != nil {
		return err
	}
	before := a
	changes := audit.Changes{}.With("serves", identifier, nil)
	if becomes {
		a.InspectsTenant, changes = false, audit.Changes{}.With("serves", nil, identifier)
	}
	return write(ctx, tx, before, &a, "application.update", changes)
}

// manage returns an application that the caller, whose rights are by, may change.
func manage(ctx context.Context, tx *db.Tx, by role.Set, application id.ID) (Application, error) {
	a, err := Get(ctx, tx, application)
	if err != nil {
		return Application{}, err
	}
	return a, role.MayManage(ctx, tx, by, role.OfApplication(application))
}

// write stores a, which was read as before. more are changes that other tables store. If nothing
// differs, it does nothing.
func write(
	ctx context.Context, tx *db.Tx, before Application, a *Application, action string, more audit.Changes,
) error {
	changed := audit.Changed(before.fields(), a.fields()).
		With("secret", audit.Digest(before.SecretHash), audit.Digest(a.SecretHash))
	maps.Copy(changed, more)
	if len(changed) == 0 {
		return nil
	}
	read := before.UpdatedAt
	// The update applies to the version that was read, and every version has its own time. Of two
	// changes at once, one is refused instead of lost.
	if a.UpdatedAt = tx.Now(); !a.UpdatedAt.After(read) {
		a.UpdatedAt = read.Add(time.Microsecond)
	}
	n, err := tx.Exec(ctx, `UPDATE applications SET name = $4, status = $5, auth_method = $6,
		secret_hash = $7, previous_secret_hash = $8, previous_secret_until = $9,
		redirect_uris = $10, post_logout_redirect_uris = $11, scopes = $12, access_token = $13, id_token_alg = $14,
		jwks = $15, token_endpoint_audience = $16, first_party = $17, rotation = $18, principal_mode = $19,
		access_token_lifetime = $20, id_token_lifetime = $21, refresh_token_idle = $22, refresh_token_max = $23,
		allow_unbound_code = $24, updated_at = $25, earlier_id_token_alg = $26, jwks_uri = $27, claims = $28,
		backchannel_logout_uri = $29, inspects_tenant = $30, mappings = $31,
		subject_type = $32, sector_identifier = $33, device_authorization = $34,
		frontchannel_logout_uri = $35, frontchannel_logout_session = $36,
		sector_identifier_uri = $37, default_api = $38
		WHERE tenant_id = $1 AND id = $2 AND updated_at = $3`, append([]any{a.ID, read}, a.values()...)...)
	if err != nil {
		return err
	}
	if n == 0 {
		return errChanged
	}
	audit.Write(tx, audit.Event{Action: action, Target: a.Target(), Changed: changed})
	tenant.Touch(tx)
	tenant.PrincipalsChanged(tx)
	return nil
}

// fields returns what the audit log compares of an application: what the API shows, without its
// times and warnings.
func (a *Application) fields() any {
	v := hidden(*a)
	return struct {
		View
		ID        any `json:"id,omitempty"`
		CreatedAt any `json:"created_at,omitempty"`
		UpdatedAt any `json:"updated_at,omitempty"`
		Warnings  any `json:"warnings,omitempty"`
	}{View: v}
}
