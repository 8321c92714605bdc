package subject

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Key computes the subs that one application is told. The zero Key is that of a public one.
type Key struct {
	sector string
	secret []byte // nil for a public one
}

// Of returns the sub of a user.
func (k Key) Of(user id.ID) string {
	if k.secret == nil {
		return user.String()
	}
	m := hmac.New(sha256.New, k.secret)
	m.Write(user[:]) // of a fixed length, so no other user and sector give the same bytes
	m.Write([]byte(k.sector))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// IsPairwise reports whether the subs are other texts than the users' ids.
func (k Key) IsPairwise() bool { return k.secret != nil }

// sealer encrypts secrets at rest; kit/secret's key ring implements it.
type sealer interface {
	Seal(tenant id.ID, purpose string, plain []byte) ([]byte, error)
	Open(tenant id.ID, purpose string, sealed []byte) ([]byte, error)
}

const purpose = "pairwise-subject"

// maxSecrets is how many tenants' secrets a replica keeps ready.
const maxSecrets = 10_000

// Keys has the keys of all applications. It is safe for concurrent use.
type Keys struct {
	db      *db.DB
	seal    sealer
	secrets *cache.Cache[struct{}, []byte] // one a tenant, which never changes
}

// NewKeys returns the keys of all applications.
func NewKeys(d *db.DB, seal sealer) *Keys {
	return &Keys{d, seal, cache.New[struct{}](cache.Options[[]byte]{Max: maxSecrets})}
}

// For returns the key of an application of the caller's tenant. The first pairwise one creates the
// tenant's secret.
func (k *Keys) For(ctx context.Context, c caller.Caller, app *application.Application) (Key, error) {
	if app.SubjectType != application.Pairwise {
		return Key{}, nil
	}
	secret, err := k.secrets.Get(ctx, c.Tenant, struct{}{}, func(ctx context.Context) ([]byte, error) {
		return k.load(ctx, c)
	})
	return Key{app.SectorIdentifier, secret}, err
}

func (k *Keys) load(ctx context.Context, c caller.Caller) ([]byte, error) {
	const read = `SELECT secret FROM subject_secrets WHERE tenant_id = $1`
	sealed, err := db.Read(ctx, k.db, c, func(tx *db.Tx) ([]byte, error) {
		return db.One(ctx, tx, db.Column[[]byte], read)
	})
	if errors.Is(err, db.ErrNoRows) {
		fresh := make([]byte, sha256.Size)
		rand.Read(fresh)
		var own []byte
		if own, err = k.seal.Seal(c.Tenant, purpose, fresh); err != nil {
			return nil, err
		}
		// Of several replicas one inserts, and all read what it inserted.
		sealed, err = db.Write(ctx, k.db, c, func(tx *db.Tx) ([]byte, error) {
			if _, err := tx.Exec(ctx, `INSERT INTO subject_secrets (tenant_id, secret, created_at) VALUES ($1, $2, $3)
				ON CONFLICT DO NOTHING`, own, tx.Now()); err != nil {
				return nil, err
			}
			return db.One(ctx, tx, db.Column[[]byte], read)
		})
	}
	if err != nil {
		return nil, err
	}
	secret, err := k.seal.Open(c.Tenant, purpose, sealed)
	if err != nil {
		return nil, fmt.Errorf("the secret of pairwise subjects: %w", err)
	}
	return secret, nil
}
