package role

import "context"

type heldKey struct{}

// Holding returns a context that carries what the caller of an operation may do.
// Only a door that has authenticated the caller sets it.
func Holding(ctx context.Context, s Set) context.Context {
	return context.WithValue(ctx, heldKey{}, s)
}

// Held returns what the caller of the operation may do: nothing, unless a door has
// said otherwise.
func Held(ctx context.Context) Set {
	s, _ := ctx.Value(heldKey{}).(Set)
	return s
}
