// Package batch writes records of many tenants in few round trips: what is put is
// queued, and a moment later one transaction inserts what has gathered, several rows
// a statement, several tenants a transaction.
//
// It is for records of what changes nothing. Putting one never waits; the queue is
// bounded in number and in bytes, and what does not fit, or what the database
// refuses, is counted and logged. Close writes what is queued; a crash loses at most
// what waited: QueueSize records, or those of the last FlushEvery.
//
// One tenant's refused records never take another's with them.
package batch
