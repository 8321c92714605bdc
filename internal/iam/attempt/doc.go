// Package attempt counts failures and slows down whoever causes them: per account,
// per client address, per tenant. The counters are rows, so a restart forgets
// nothing and replicas share them.
//
// A sign-in asks Check before the slow work (a View), and in its final transaction
// calls Fail or Succeed. Succeed may refuse a right password: when, between the two,
// other guesses have used the account's tries up, a correct guess among them must
// not count. So sending a thousand guesses at once is worth no more than the few
// that the rule allows.
//
// A stranger must not be able to keep a person out by failing on purpose. Three
// things see to that: delays grow but are capped; a browser that has signed in to
// the account before (its secret cookie) is counted on its own and is not slowed by
// anybody else's failures on that account; and a new password by a mailed link
// clears the account (Clear). A person's status is never changed from here.
//
// Accounts that do not exist are counted like those that do. IPv6 addresses are
// counted by /64, the least that one subscriber gets. Rows hold digests, not logins
// or addresses, and are bounded: each failure writes at most one row for each key,
// and Purge removes what has expired.
package attempt
