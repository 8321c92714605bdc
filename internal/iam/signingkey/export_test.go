package signingkey

// Ages, for the tests.
const (
	RotateEvery    = rotateEvery
	PublishRetired = publishRetired
)
