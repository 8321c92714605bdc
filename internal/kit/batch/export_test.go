package batch

// The bounds, for tests.
const (
	QueueSize  = queueSize
	QueueBytes = queueBytes
	FlushTime  = flushTime
)
