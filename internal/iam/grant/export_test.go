package grant

// Revoke is revoke, for the tests.
var Revoke = revoke

// The statements that find a token by its key.
const (
	SelectOpaque = selectOpaque
	SelectOwn    = selectOwn
	UseCode      = useCode
	RotateFamily = rotateFamily
)
