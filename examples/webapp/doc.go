// Webapp is a small web application that signs people in with OpenID Connect.
//
// It is an example and a test. It uses github.com/coreos/go-oidc and golang.org/x/oauth2 like any
// application, and knows only the issuer of Gatehouse. It does what a relying party must:
//
//   - It binds the state to the browser, and sends a nonce and PKCE with S256.
//   - It checks the issuer of the answer (RFC 9207), and verifies the ID token.
//   - It keeps tokens on the server, and refreshes them.
//   - It signs out at the provider with id_token_hint (RP-initiated logout).
//   - It ends its sessions when the provider says so (back-channel logout).
//
// Usage:
//
//	webapp -issuer http://127.0.0.1:8080/t/acme -client-id ID -client-secret SECRET
//
// Register http://127.0.0.1:8090/callback as redirect URI of the application, and
// http://127.0.0.1:8090/signedout as its post-logout redirect URI. Its backchannel_logout_uri is
// http://127.0.0.1:8090/backchannel-logout. Sessions live in memory and end with a restart.
package main
