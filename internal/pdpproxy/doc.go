// Package pdpproxy stands beside an application as a Cerbos sidecar does, and asks Gatehouse. It
// takes decision requests over gRPC and HTTP without a token, and forwards them with its own.
//
// Invariants:
//   - It forwards decision requests only, never the management API or the OAuth endpoints.
//   - A caller's Authorization header never goes further, and the proxy's token never comes back.
//   - It listens where only this machine can connect, unless its operator says otherwise: its
//     callers need no credentials.
//   - It renews the token before it ends. An answer that refuses a token renews it once and asks
//     again.
//
// It imports nothing of the server.
package pdpproxy
