package resourceserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

const columns = `id, identifier, name, scopes, token_profile, token_lifetime, signing_alg, access,
	acr, max_age, created_at, updated_at`

func scanAPI(row db.Row) (API, error) {
	var a API
	var scopes string
	if err := row.Scan(&a.ID, &a.Identifier, &a.Name, &scopes, &a.TokenProfile, &a.TokenSeconds, &a.SigningAlg,
		&a.Access, &a.ACR, &a.MaxAge, &a.CreatedAt, &a.UpdatedAt); err != nil {
		return API{}, err
	}
	a.Applications, a.Servers = []id.ID{}, []id.ID{}
	if err := json.Unmarshal([]byte(scopes), &a.Scopes); err != nil {
		return API{}, fmt.Errorf("API %s: %w", a.ID, err)
	}
	return a, nil
}

// The parts of an application in an API.
const (
	asks   = "asks"   // it may ask for tokens
	serves = "serves" // it is the API
)

// member is an application in a list of an API.
type member struct {
	api, application id.ID
	part             string
}

func scanMember(row db.Row) (member, error) {
	var m member
	err := row.Scan(&m.api, &m.application, &m.part)
	return m, err
}

func (m member) joins(a *API) {
	if m.part == serves {
		a.Servers = append(a.Servers, m.application)
		return
	}
	a.Applications = append(a.Applications, m.application)
}

// withMembers reads the applications of one API.
func withMembers(ctx context.Context, tx *db.Tx, a API, err error) (API, error) {
	if errors.Is(err, db.ErrNoRows) {
		return API{}, ErrNotFound
	}
	if err != nil {
		return API{}, err
	}
	members, err := db.List(ctx, tx, scanMember, `SELECT resource_server_id, application_id, part
		FROM resource_server_applications WHERE tenant_id = $1 AND resource_server_id = $2
		ORDER BY application_id`, a.ID)
	for _, m := range members {
		m.joins(&a)
	}
	return a, err
}

// Get returns an API by its id, or ErrNotFound.
func Get(ctx context.Context, tx *db.Tx, api id.ID) (API, error) {
	a, err := db.One(ctx, tx, scanAPI, `SELECT `+columns+` FROM resource_servers WHERE tenant_id = $1 AND id = $2`, api)
	return withMembers(ctx, tx, a, err)
}

// ByIdentifier returns an API by its identifier in either spelling, or ErrNotFound.
func ByIdentifier(ctx context.Context, tx *db.Tx, identifier string) (API, error) {
	a, err := db.One(ctx, tx, scanAPI, `SELECT `+columns+` FROM resource_servers
		WHERE tenant_id = $1 AND identifier IN ($2, $3) ORDER BY identifier <> $2 LIMIT 1`,
		identifier, application.OtherSpelling(identifier))
	return withMembers(ctx, tx, a, err)
}

// hold is Get for an API that is about to change: its row is locked until the transaction ends. It
// fails with errBuiltIn for a built-in one.
func hold(ctx context.Context, tx *db.Tx, api id.ID) (API, error) {
	if builtInWith(api, "") != nil {
		return API{}, errBuiltIn
	}
	a, err := db.One(ctx, tx, scanAPI,
		`UPDATE resource_servers SET updated_at = updated_at WHERE tenant_id = $1 AND id = $2 RETURNING `+columns, api)
	return withMembers(ctx, tx, a, err)
}

// Exist reports whether the tenant has registered APIs.
func Exist(ctx context.Context, tx *db.Tx) (bool, error) {
	n, err := db.One(ctx, tx, db.Column[int64],
		`SELECT count(*) FROM (SELECT 1 FROM resource_servers WHERE tenant_id = $1 LIMIT 1) a`)
	return n > 0, err
}

// Names reports whether an API of the tenant has its tokens signed with an algorithm.
func Names(ctx context.Context, tx *db.Tx, alg string) (bool, error) {
	n, err := db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM (SELECT 1 FROM resource_servers
		WHERE tenant_id = $1 AND signing_alg = $2 LIMIT 1) a`, alg)
	return n > 0, err
}

// filterable are the attributes that policies may limit the list by.
var filterable = filter.Columns{"id": {SQL: "id", Kind: filter.ID}}

// List returns a page of the APIs that shown lets through, in the order of their creation.
func List(ctx context.Context, tx *db.Tx, shown filter.Filter, p page.Request) (page.List[API], error) {
	query, args := `SELECT `+columns+` FROM resource_servers WHERE tenant_id = $1`, []any{p.Fetch()}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	limit, err := shown.SQL(filterable, arg)
	if err != nil {
		return page.List[API]{}, err
	}
	query += limit
	if !p.After.IsZero() {
		query += ` AND id > ` + arg(p.After)
	}
	apis, err := db.List(ctx, tx, scanAPI, query+` ORDER BY id LIMIT $2`, args...)
	if err != nil || len(apis) == 0 {
		return page.Of(p, apis, idOf), err
	}
	members, err := db.List(ctx, tx, scanMember, `SELECT resource_server_id, application_id, part
		FROM resource_server_applications WHERE tenant_id = $1 AND resource_server_id >= $2 AND resource_server_id <= $3
		ORDER BY resource_server_id, application_id`, apis[0].ID, apis[len(apis)-1].ID)
	i := 0
	for _, m := range members { // in the order of the APIs, some of which the caller may not see
		for i < len(apis) && compareIDs(apis[i].ID, m.api) < 0 {
			i++
		}
		if i < len(apis) && apis[i].ID == m.api {
			m.joins(&apis[i])
		}
	}
	return page.Of(p, apis, idOf), err
}

func idOf(a API) id.ID { return a.ID }

// Create adds an API. by are the rights of the caller. Create fails with an Invalid fault that
// names every wrong field, with ErrIdentifierTaken, or with a Limited fault at the tenant's limit.
// It fails like application.Serve for a server that the caller may not change.
func Create(ctx context.Context, tx *db.Tx, by role.Set, identifier string, p Profile) (API, error) {
	a := API{ID: id.New(), Identifier: identifier, Profile: p, CreatedAt: tx.Now(), UpdatedAt: tx.Now()}
	if !ValidIdentifier(identifier) {
		return API{}, fault.InvalidField("api.invalid", "identifier", "An identifier is an absolute URI without a "+
			"fragment, of at most %d characters, such as https://invoices.example.com (RFC 8707).", maxIdentifier)
	}
	if err := a.normalise(); err != nil {
		return API{}, err
	}
	count, err := db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM resource_servers WHERE tenant_id = $1`)
	if err != nil {
		return API{}, err
	}
	if count >= maxAPIs {
		return API{}, errTooMany
	}
	if _, err := ByIdentifier(ctx, tx, identifier); err == nil {
		return API{}, ErrIdentifierTaken
	} else if !errors.Is(err, ErrNotFound) {
		return API{}, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO resource_servers (tenant_id, id, identifier, name, scopes, token_profile,
		token_lifetime, signing_alg, access, created_at, updated_at, acr, max_age)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12)`, a.ID, a.Identifier, a.Name, a.scopesText(),
		a.TokenProfile, a.TokenSeconds, a.SigningAlg, a.Access, a.CreatedAt, a.ACR, a.MaxAge)
	if db.IsConflict(err, "resource_servers", "identifier") {
		return API{}, ErrIdentifierTaken
	}
	if err != nil {
		return API{}, err
	}
	if err := a.enlist(ctx, tx, by, API{}); err != nil {
		return API{}, err
	}
	audit.Write(tx, audit.Event{Action: "api.create", Target: a.target(), Changed: audit.Changed(nil, a.fields())})
	tenant.Touch(tx)
	return a, nil
}

// Update edits a copy of an API's profile and stores it. edit must replace lists instead of
// changing what they hold. Update fails like Create, and with ErrNotFound.
func Update(ctx context.Context, tx *db.Tx, by role.Set, api id.ID, edit func(*Profile)) (API, error) {
	old, err := hold(ctx, tx, api)
	if err != nil {
		return API{}, err
	}
	a := old
	edit(&a.Profile)
	if err := a.normalise(); err != nil {
		return API{}, err
	}
	changed := audit.Changed(old.fields(), a.fields())
	if len(changed) == 0 {
		return old, nil
	}
	a.UpdatedAt = tx.Now()
	if _, err := tx.Exec(ctx, `UPDATE resource_servers SET name = $3, scopes = $4, token_profile = $5,
		token_lifetime = $6, signing_alg = $7, access = $8, updated_at = $9, acr = $10, max_age = $11
		WHERE tenant_id = $1 AND id = $2`, a.ID, a.Name, a.scopesText(), a.TokenProfile, a.TokenSeconds, a.SigningAlg,
		a.Access, a.UpdatedAt, a.ACR, a.MaxAge); err != nil {
		return API{}, err
	}
	if err := a.enlist(ctx, tx, by, old); err != nil {
		return API{}, err
	}
	audit.Write(tx, audit.Event{Action: "api.update", Target: a.target(), Changed: changed})
	tenant.Touch(tx)
	return a, nil
}

// Delete removes an API. Nothing new is issued for it. Its JWTs are good until they expire.
func Delete(ctx context.Context, tx *db.Tx, api id.ID) error {
	a, err := hold(ctx, tx, api)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM resource_servers WHERE tenant_id = $1 AND id = $2`, api); err != nil {
		return err
	}
	audit.Write(tx, audit.Event{Action: "api.delete", Target: a.target(), Changed: audit.Changed(a.fields(), nil)})
	tenant.Touch(tx)
	return nil
}

// enlist stores the lists of applications, if they differ from those of old. It fails with an
// Invalid fault for an application that does not exist, and like application.Serve.
func (a *API) enlist(ctx context.Context, tx *db.Tx, by role.Set, old API) error {
	for _, l := range []struct {
		part, field string
		was, is     []id.ID
	}{{asks, "applications", old.Applications, a.Applications}, {serves, "servers", old.Servers, a.Servers}} {
		if slices.Equal(l.was, l.is) {
			continue
		}
		for _, app := range l.is {
			var err error
			switch {
			case slices.Contains(l.was, app):
			case l.part == serves:
				err = application.Serve(ctx, tx, by, app, a.Identifier, true)
			default:
				_, err = application.Get(ctx, tx, app)
			}
			if errors.Is(err, application.ErrNotFound) {
				return fault.InvalidField("api.invalid", l.field, "There is no application with the id %s.", app)
			}
			if err != nil {
				return err
			}
		}
		for _, app := range l.was {
			if l.part != serves || slices.Contains(l.is, app) {
				continue
			}
			if err := application.Serve(ctx, tx, by, app, a.Identifier, false); err != nil {
				return err
			}
		}
		tx.Later(`DELETE FROM resource_server_applications
			WHERE tenant_id = $1 AND resource_server_id = $2 AND part = $3`, a.ID, l.part)
		for _, app := range l.is {
			tx.Later(`INSERT INTO resource_server_applications (tenant_id, resource_server_id, application_id, part)
				VALUES ($1, $2, $3, $4)`, a.ID, app, l.part)
		}
	}
	return nil
}

func (a *API) scopesText() string {
	b, err := json.Marshal(a.Scopes)
	if err != nil { // texts only
		panic("resourceserver: " + err.Error())
	}
	return string(b)
}

// fields returns what the audit log compares of an API.
func (a *API) fields() any {
	return struct {
		Identifier string `json:"identifier"`
		Profile
	}{a.Identifier, a.Profile}
}
