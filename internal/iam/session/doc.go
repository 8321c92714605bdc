// Package session owns sessions: one signed-in browser each.
//
// Invariants:
//   - A session is found by the hash of its token, in one query that also asks
//     whether its user is active and its tenant is not suspended. What it answers
//     is true now; nothing is cached.
//   - It ends at ExpiresAt, after Idle without a visit, or when it is revoked,
//     whichever comes first. An ended session never comes back.
//   - A sign-in always makes a new token; one that was in the browser before is
//     never promoted.
//
// It never authenticates anybody and sets no cookie; that is doors/pages.
package session
