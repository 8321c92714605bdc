package application

// Names of the package, for its tests.
var (
	ErrNoSecret  = errNoSecret
	List         = list
	RotateSecret = rotateSecret
)
