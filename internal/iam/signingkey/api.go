package signingkey

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// Key is a signing key as the API shows it. It has nothing private.
type Key struct {
	ID           string     `json:"kid" always:"true" doc:"The key's id in tokens and in the key set (RFC 7517)."`
	Algorithm    string     `json:"algorithm" always:"true" enum:"ES256,RS256,EdDSA"`
	State        string     `json:"state" always:"true" enum:"published,signing,retired" doc:"published: the next key, which clients can fetch already. signing: signs new tokens. retired: signs no longer. What it signed before is valid until it expires."`
	CreatedAt    time.Time  `json:"created_at" doc:"Published since then."`
	SignsFrom    *time.Time `json:"signs_from,omitempty" doc:"The earliest time at which a published key can sign."`
	SigningSince *time.Time `json:"signing_since,omitempty"`
	RetiredAt    *time.Time `json:"retired_at,omitempty"`
	PublishedTo  *time.Time `json:"published_to,omitempty" doc:"A retired key is in the key set until then: longer than any token that it signed."`
}

var states = map[status]string{statusNext: "published", statusCurrent: "signing", statusRetired: "retired"}

// List returns the tenant's keys, oldest first.
func List(ctx context.Context, tx *db.Tx) ([]Key, error) {
	rows, err := list(ctx, tx)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, len(rows))
	for i, r := range rows {
		key := Key{ID: r.kid, Algorithm: string(r.alg), State: states[r.status], CreatedAt: r.createdAt}
		if !r.activatedAt.IsZero() {
			key.SigningSince = &r.activatedAt
		}
		switch r.status {
		case statusNext:
			from := signsFrom(rows, r)
			key.SignsFrom = &from
		case statusRetired:
			to := r.retiredAt.Add(publishRetired)
			key.RetiredAt, key.PublishedTo = &r.retiredAt, &to
		case statusCurrent:
		}
		keys[i] = key
	}
	return keys, nil
}

type listInput struct {
	Algorithm string `query:"algorithm" enum:"ES256,RS256,EdDSA" doc:"Only the keys of this algorithm."`
	State     string `query:"state" enum:"published,signing,retired" doc:"Only the keys in this state."`
}

func (in *listInput) wants(key Key) bool {
	return (in.Algorithm == "" || key.Algorithm == in.Algorithm) && (in.State == "" || key.State == in.State)
}

type rotateInput struct {
	Body struct {
		Algorithm string `json:"algorithm" enum:"ES256,RS256,EdDSA" doc:"The algorithm whose keys move on."`
	}
}

type withdrawInput struct {
	ID string `path:"kid" maxLength:"64" doc:"The key's id, as the list shows it."`
}

// Operations returns the management operations on the tenant's signing keys.
func Operations(k *Keys) []api.Operation {
	op := api.Tag("Signing keys").Op
	return []api.Operation{
		api.Read(op("GET", "/signing-keys", "list-signing-keys", "key.read", "List signing keys",
			"All of them, oldest first: they are few. A tenant has none before its first token or key set."),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *listInput) (page.List[Key], error) {
				all, err := List(ctx, tx)
				shown := page.List[Key]{Items: []Key{}}
				for _, key := range all {
					if in.wants(key) {
						shown.Items = append(shown.Items, key)
					}
				}
				return shown, err
			}),
		api.WriteAfter(op("POST", "/signing-keys/rotate", "rotate-signing-keys", "key.rotate", "Rotate signing keys",
			"The published key signs from now on, a new one is published, and the one that signed is retired.",
			"Tokens stay valid. The answer is the key that signs. Within ten minutes of the rotation before, the",
			"answer is 409, because clients may not know the published key yet."),
			func(ctx context.Context, req api.Request, in *rotateInput) (fresh, error) {
				return k.prepareRotation(ctx, req.Caller, jose.Algorithm(in.Body.Algorithm))
			},
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *rotateInput, next fresh) (Key, error) {
				return k.rotate(ctx, tx, next)
			}),
		api.WriteAfter(op("DELETE", "/signing-keys/{kid}", "withdraw-signing-key", "key.withdraw",
			"Withdraw a signing key",
			"For a key that may have leaked. No token that it signed is accepted here any longer. If it is the key",
			"that signs, the published key signs at once, even if clients may not know it yet."),
			func(ctx context.Context, req api.Request, in *withdrawInput) (fresh, error) {
				return k.prepareWithdrawal(ctx, req.Caller, in.ID)
			},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *withdrawInput, made fresh) (api.None, error) {
				return api.None{}, k.withdraw(ctx, tx, in.ID, made)
			}),
	}
}
