package grant_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// A client may be named like an audit event, and send any jti. Its assertions hide no replay.
func TestAnAssertionHidesNoReplay(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		_, code := w.grant(false)
		parsed, err := secret.ParseToken(code.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Update(t.Context(), w.c, func(tx *db.Tx) error {
			_, err := grant.UseJTI(t.Context(), tx, "code.replay", hex.EncodeToString(parsed.Hash),
				tx.Now().Add(time.Hour))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		w.redeem(code, w.app, true)
		if _, o := w.redeem(code, w.app, true); o != grant.Replayed || w.events("code.replay") != 1 {
			t.Errorf("%s, %d events", o, w.events("code.replay"))
		}
	})
}
