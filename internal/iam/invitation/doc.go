// Package invitation owns the invitations of people who are not users yet. A mailed link lets its
// receiver become a user with the roles and groups that the invitation names.
//
// Invariants:
//
//   - An address has at most one open invitation. The next one replaces it.
//   - A caller invites only into roles and groups that the caller could give to a user now:
//     role.Choose and group.Choose decide, as for a user who exists. The same right is needed to
//     replace, resend or withdraw the invitation. It is checked then, and not again when the person
//     accepts: an invitation counts as an assignment. A role or group that was deleted meanwhile is
//     left out.
//   - A link is 256 random bits, stored as a hash. Opening it changes nothing. One conditional
//     statement accepts it, so exactly one of several tries wins.
//   - Accepting is one transaction: user, verified address, password, roles, groups and audit
//     event.
//   - Mails to one address are limited (attempt.Mail), and so are the rows of a tenant.
//
// It never decides how a person signs in: doors/pages asks iam/signin for the next step.
package invitation
