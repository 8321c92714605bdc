package pages

// signInForget is "Not you?": the flow starts over for anybody.
func (d *Door) signInForget(v *visit) error {
	s, err := d.readFlow(v, v.flowID())
	if err != nil {
		return err
	}
	s.Forget()
	if err := d.carry(v, s); err != nil {
		return err
	}
	return v.redirectToFlow(v.flowID())
}
