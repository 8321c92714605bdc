// Package batch writes records of many tenants in few round trips.
//
// A Writer queues records. A moment later it inserts all queued ones in one transaction, with
// several rows a statement and several tenants a transaction.
//
// It is for records of requests that change nothing. Put never waits. The queue is bounded in
// records and in bytes. The Writer counts and logs each record that does not fit or that the
// database refuses. Close writes the queue. A crash loses at most a full queue, or the records of
// the last 40 ms.
//
// The refused records of one tenant never affect those of another.
package batch
