// Package user owns the people of a tenant: who they are, what they are called,
// and whether they count (status).
//
// Invariants:
//   - email and username are unique in their tenant in normalised form (email_key,
//     username_key); a username never contains "@", so one login field serves both.
//   - Only an active user counts: sessions, grants and roles of any other status are
//     void from the moment the status is committed, because their queries ask for it.
//   - A tenant that has an active owner never loses its last one (KeepOwner); this
//     package guards it, since status and deletion are what could take it away.
//   - Mail goes to the stored address, never to what somebody typed.
//
// It never sees a credential (iam/credential) and gives no rights (iam/role).
package user
