// Package wire reads and writes the JSON of decision requests and their answers.
//
// The requests and answers of checks and plans have a reader and a writer of their own. They cost
// a tenth of protojson, which serves every other message.
//
// Invariants:
//   - A fast reader accepts nothing that protojson refuses, and understands it the same way. A
//     test and a fuzz target compare the two.
//   - Attributes are nested at most MaxDepth levels deep.
//
// It knows protobuf messages and bytes. It never knows a transport, a caller or a policy.
package wire
