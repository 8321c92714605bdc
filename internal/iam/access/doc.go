// Package access admits bearer tokens and the cookies of the admin console: it tells a door who
// holds a proof and what it is good for.
//
// It owns the one path from a proof to a caller: home tenant, verified token, audience, scope,
// application, actor and rights. Every door that takes bearer tokens goes this way, and says in a
// Want what it asks of the token. A further check on every token, such as its binding to a key
// (RFC 9449, RFC 8705), belongs into Guard.Admit and nowhere else.
//
// Invariants:
//   - What a token says of itself before its signature is verified only selects the tenant whose
//     keys and rows are asked.
//   - Without Want.Operators a token is accepted by its own tenant only. Another tenant's token is
//     refused like any other bad token.
//   - The cookie of the admin console opens only what Want.Console names, to a page of its own
//     site, and never beside an Authorization header. It stands for a token of ConsoleID of
//     iam/application.
//   - The returned caller touches the tenant that the request addressed. Its actor names the
//     holder's home.
//
// It never decides whether the holder may do an action, and knows no HTTP status: that is the
// door's.
package access
