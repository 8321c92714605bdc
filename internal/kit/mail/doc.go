// Package mail sends mail: to one recipient, as text and HTML, over SMTP or, in
// development, to the log.
//
// Mail is enqueued as a job in the transaction that wants it, so that a change and
// its mail happen together or not at all, and nobody waits for a mail server. A
// crash between sending and noting it sends a mail again, under the same
// Message-ID.
//
// No text of a message can add a header or a recipient. The package never chooses
// words; the pages do.
package mail
