// Package subject computes the sub by which an application is told who a user is.
//
// Invariants:
//   - One function, Key.Of, computes the sub for every token and answer. So they agree.
//   - The sub of a public application is the user's id. That of a pairwise one is an HMAC of the
//     user's id and the application's sector, so two sectors cannot compare their users (OpenID
//     Connect Core §8.1).
//   - The HMAC's secret is random, one for each tenant, sealed under the key ring, and never
//     changes.
//
// Nothing of ours reads a sub back: access tokens name their grant, and the grant names the user.
// Only an application's hint is compared, with the sub of the person who is signed in.
package subject
