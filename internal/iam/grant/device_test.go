package grant_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// All applications of a tenant together have a bounded number of requests of devices.
func TestATenantHasABoundedNumberOfDevices(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		other := id.New()
		w.application(other)
		request := func() error {
			return w.Update(context.Background(), w.c, func(tx *db.Tx) error {
				_, _, err := grant.RequestDevice(context.Background(), tx, other, []string{"openid"}, nil)
				return err
			})
		}
		w.update(func(_ context.Context, tx *db.Tx) error {
			for i := range 4999 {
				tx.Later(`INSERT INTO device_authorizations (tenant_id, id, code_hash, user_code, application_id, scopes,
					wait, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, '', 0, $6, $7)`,
					id.New(), fmt.Append(nil, i), fmt.Sprint(i), w.app, tx.Now(), tx.Now().Add(grant.DeviceLifetime))
			}
			return nil
		})
		if err := request(); err != nil {
			t.Fatalf("the 5000th: %v", err)
		}
		if err := request(); fault.Of(err) != fault.Limited {
			t.Errorf("the 5001st: %v", err)
		}
		w.update(func(ctx context.Context, tx *db.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE device_authorizations SET status = 'denied'
				WHERE tenant_id = $1 AND user_code = '7'`)
			return err
		})
		if err := request(); err != nil {
			t.Errorf("after one was answered: %v", err)
		}
		w.Clock.Advance(grant.DeviceLifetime)
		if err := request(); err != nil {
			t.Errorf("after those have ended: %v", err)
		}
	})
}
