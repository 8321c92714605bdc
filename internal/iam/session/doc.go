// Package session owns sessions: one signed-in browser each.
//
// Invariants:
//   - One query finds a session by the hash of its token, and checks that its user is active and
//     its tenant is not suspended. The answer is true now: no session is cached.
//   - A session counts in its user's generation only (iam/user), and only if its tenant was not
//     signed out since.
//   - A session ends at ExpiresAt, after Idle without a visit, or when it is revoked, whichever
//     comes first. An ended session never comes back.
//   - A sign-in always creates a new token. A token from before the sign-in is never promoted.
//   - Only a newer sign-in can prolong a session.
//
// It never authenticates a user: iam/signin starts sessions. Only SetCookies gives a browser the
// token of a session, and only ClearCookies takes it away. doors/oidc also sets StateCookie, which
// opens nothing, for a session that an earlier release started.
package session
