// Package user owns the people of a tenant: their profiles, and their status, which says whether
// they count.
//
// Invariants:
//   - email and username are unique in their tenant in normalised form (email_key, username_key). A
//     username never contains "@", so one login field serves both.
//   - Only an active user counts. Sessions, grants and roles of any other status are void once the
//     status is committed, because their queries check it.
//   - A session, grant or proof counts only in the user's Generation that it was made in. Any
//     status but active begins a new one, so that activating the user again brings nothing back.
//   - A change of status and a deletion keep the tenant's last owner (KeepOwner).
//   - Mail goes to the stored address, never to an address that a form contained.
//
// It never sees a credential (iam/credential) and grants no rights (iam/role).
package user
