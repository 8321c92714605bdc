// Package attempt counts failures and delays further attempts, per account, network and tenant.
//
// The counters are rows, so they survive a restart and all replicas share them.
//
// A sign-in calls Check in a View before the slow work. In its final transaction it calls Fail or
// Succeed. Succeed may refuse a correct password: meanwhile other guesses may have used up the
// account's tries, and a correct guess among them must not count. So a thousand guesses at once are
// worth no more than the few that the rule allows.
//
// A stranger must not be able to lock a user out by failing on purpose:
//   - Delays grow but are capped.
//   - A browser that has signed in to the account before (its secret cookie) has its own counter,
//     and so has a client's network. Failures of others do not delay them.
//   - The failures of a tenant and of a provider refuse no sign-in. They leave unknown networks
//     fewer tries.
//   - A mail that is left out was sent a moment ago.
//   - A new password by a mailed link clears the account (Forgive).
//
// This package never changes the status of a user.
//
// Unknown accounts are counted like known ones. Addresses are counted by kit/network's levels: the
// client, its site and its provider. Rows hold digests, not logins or addresses. They are bounded:
// each failure writes at most one row for each key, and Purge removes expired rows.
package attempt
