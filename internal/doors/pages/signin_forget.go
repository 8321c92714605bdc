package pages

import (
	"errors"

	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// signInForget is "Not you?": the flow starts over for anybody.
func (d *Door) signInForget(v *visit) error {
	err := d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) error {
		s, err := d.SignIn.Read(v.ctx(), tx, v.flowID(), v.ofBrowser())
		if err != nil {
			return err
		}
		s.Forget()
		_, err = d.SignIn.Store(v.ctx(), tx, s, v.browser)
		return err
	})
	if err != nil && !errors.Is(err, signin.ErrStale) {
		return err
	}
	return v.redirectToFlow(v.flowID())
}
