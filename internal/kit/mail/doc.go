// Package mail sends mail to one recipient, as text and HTML. It uses SMTP or, in development, the
// log.
//
// The transaction that wants a mail enqueues it as a job. The change and its mail happen together
// or not at all, and a request does not wait for a mail server. A crash between sending and marking
// the job sends the mail again, under the same Message-ID.
//
// No text of a message can add a header or a recipient. The pages choose the words, never this
// package.
package mail
