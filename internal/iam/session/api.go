package session

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// View is the API's form of a session.
type View struct {
	ID         id.ID     `json:"id" format:"uuid"`
	UserID     id.ID     `json:"user_id" format:"uuid"`
	CreatedAt  time.Time `json:"created_at"`
	AuthTime   time.Time `json:"auth_time" doc:"When the first factor was proved."`
	LastSeenAt time.Time `json:"last_seen_at" version:"-" doc:"The last visit, at most a minute late."`
	ExpiresAt  time.Time `json:"expires_at" version:"-" doc:"When it ends without another visit."`
	AMR        []string  `json:"amr" doc:"The methods proved (RFC 8176)."`
	ACR        string    `json:"acr" doc:"aal1: one factor; aal2: two."`
	Address    string    `json:"address" doc:"The client address that it was started from."`
	Agent      string    `json:"agent" doc:"The browser's User-Agent."`
}

// ViewOf returns the API's form of s.
func ViewOf(s Session) View {
	return View{
		ID: s.ID, UserID: s.User, CreatedAt: s.CreatedAt, AuthTime: s.AuthTime, LastSeenAt: s.LastSeen,
		ExpiresAt: s.ends(),
		AMR:       s.AMR, ACR: s.ACR, Address: s.Address, Agent: s.Agent,
	}
}

type listInput struct {
	api.Page
	User string `query:"user_id" format:"uuid" doc:"Only the sessions of this user."`
}

// Operations are the management operations on sessions. end ends one, and tells its applications.
func Operations(
	end func(ctx context.Context, tx *db.Tx, session id.ID, reason string) error,
) []api.Operation {
	return []api.Operation{
		api.Read(api.Op{Method: "GET", Path: "/sessions", ID: "list-sessions", Action: "session.read", Tag: "Sessions",
			Summary: "List active sessions", Description: "Those that you may see, oldest first.", Filtered: true},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *listInput) (page.List[View], error) {
				r, err := in.Request()
				if err != nil {
					return page.List[View]{}, err
				}
				var user id.ID
				if in.User != "" {
					if user, err = id.Parse(in.User); err != nil {
						return page.List[View]{}, ErrNotFound
					}
				}
				all, err := List(ctx, tx, req.Filter, user, r.After, r.Fetch())
				return page.Map(page.Of(r, all, func(s Session) id.ID { return s.ID }), ViewOf), err
			}),
		api.Read(api.Op{Method: "GET", Path: "/sessions/{id}", ID: "get-session", Action: "session.read",
			Tag: "Sessions", Summary: "Get an active session"},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				s, err := Get(ctx, tx, in.ID)
				return ViewOf(s), err
			}),
		api.Change(api.Op{Method: "DELETE", Path: "/sessions/{id}", ID: "revoke-session", Action: "session.revoke",
			Tag:     "Sessions",
			Summary: "Revoke a session", Description: "The browser's next request is signed out."},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				s, err := hold(ctx, tx, in.ID)
				return ViewOf(s), err
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				s, err := Get(ctx, tx, in.ID)
				if err != nil {
					return api.None{}, err
				}
				if err := role.MayEnd(ctx, tx, req, role.OfUser(s.User)); err != nil {
					return api.None{}, err
				}
				return api.None{}, end(ctx, tx, in.ID, "operator")
			}),
	}
}
