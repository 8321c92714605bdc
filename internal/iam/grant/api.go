package grant

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// View is the API's form of a grant.
type View struct {
	ID            id.ID     `json:"id" format:"uuid"`
	ApplicationID id.ID     `json:"application_id" format:"uuid"`
	UserID        id.ID     `json:"user_id" format:"uuid"`
	SessionID     id.ID     `json:"session_id" format:"uuid" doc:"The browser session that it was given in."`
	Offline       bool      `json:"offline" doc:"It outlives its session (the scope offline_access)."`
	Scopes        []string  `json:"scopes" doc:"The most that a token of it can have."`
	AuthTime      time.Time `json:"auth_time" doc:"When the user's first factor was proved."`
	AMR           []string  `json:"amr" doc:"The methods proved (RFC 8176)."`
	ACR           string    `json:"acr" doc:"aal1: one factor; aal2: two."`
	Address       string    `json:"address,omitempty" doc:"The client address of the user's browser."`
	CreatedAt     time.Time `json:"created_at"`
	ExpiresAt     time.Time `json:"expires_at" doc:"The end of its last refresh token, however often it is used."`
}

func view(g Grant) View {
	return View{
		ID: g.ID, ApplicationID: g.Application, UserID: g.User, SessionID: g.Session, Offline: g.Offline,
		Scopes: g.Scopes, AuthTime: g.AuthTime, AMR: g.AMR, ACR: g.ACR, Address: g.Address,
		CreatedAt: g.CreatedAt, ExpiresAt: g.ExpiresAt,
	}
}

type listInput struct {
	api.Page
	User        id.ID `query:"user_id" format:"uuid" doc:"Only what applications hold of this user."`
	Application id.ID `query:"application_id" format:"uuid" doc:"Only what this application holds."`
}

// byOperator is the reason of these revocations in the audit log.
const byOperator = "operator"

// Operations are the management operations on what applications hold.
func Operations() []api.Operation {
	op := api.Tag("Grants").Op
	const asked = "The user is asked for consent again, unless the application is first_party."
	listed := op("GET", "/grants", "list-grants", "grant.read", "List what applications hold",
		"The valid grants that you may see, oldest first. A grant is one authorization of an application by a user,",
		"with its refresh tokens and access tokens.")
	listed.Filtered = true
	return []api.Operation{
		api.Read(listed, func(ctx context.Context, tx *db.Tx, req api.Request, in *listInput) (page.List[View], error) {
			r, err := in.Request()
			if err != nil {
				return page.List[View]{}, err
			}
			all, err := List(ctx, tx, req.Filter, Of{User: in.User, Application: in.Application}, r)
			return page.Map(page.Of(r, all, func(g Grant) id.ID { return g.ID }), view), err
		}),
		api.Read(op("GET", "/grants/{id}", "get-grant", "grant.read", "Get a grant"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				g, err := Get(ctx, tx, in.ID)
				return view(g), err
			}),
		api.Change(op("DELETE", "/grants/{id}", "revoke-grant", "grant.revoke", "Revoke a grant",
			"Its refresh tokens and access tokens are no longer accepted.", asked),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				g, err := hold(ctx, tx, in.ID)
				return view(g), err
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				g, err := Get(ctx, tx, in.ID)
				if err != nil {
					return api.None{}, err
				}
				if err := role.MayEnd(ctx, tx, req, role.OfUser(g.User)); err != nil {
					return api.None{}, err
				}
				withdraw(tx, Of{User: g.User, Application: g.Application})
				return api.None{}, revoke(ctx, tx, g.ID, byOperator)
			}),
		api.Write(op("DELETE", "/users/{id}/grants", "revoke-user-grants", "grant.revoke",
			"Revoke what applications hold of a user",
			"Every grant of the user, offline ones too. The user's sessions stay.", asked),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				if _, err := user.Get(ctx, tx, in.ID); err != nil {
					return api.None{}, err
				}
				if err := role.MayEnd(ctx, tx, req, role.OfUser(in.ID)); err != nil {
					return api.None{}, err
				}
				withdraw(tx, Of{User: in.ID})
				RevokeOfUser(tx, in.ID, byOperator)
				return api.None{}, nil
			}),
		api.Write(op("DELETE", "/applications/{id}/grants", "revoke-application-grants", "grant.revoke",
			"Revoke what an application holds",
			"Every grant of every user, and the application's own opaque tokens. The application stays active:",
			"a machine can get a new token, and its own JWTs count until they expire. This also needs the action",
			"application.update, because it ends what owners use too.", asked),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				if _, err := application.Get(ctx, tx, in.ID); err != nil {
					return api.None{}, err
				}
				if err := role.MayEnd(ctx, tx, req, role.OfApplication(in.ID)); err != nil {
					return api.None{}, err
				}
				// As for disabling it, which ends the same.
				if !role.Of(req.Rights).AllowsOn("application.update", in.ID) {
					return api.None{}, api.Denied("application.update")
				}
				if err := application.NextGeneration(ctx, tx, in.ID, application.Consents); err != nil {
					return api.None{}, err
				}
				return api.None{}, RevokeOfApplication(ctx, tx, in.ID, byOperator)
			}),
	}
}
