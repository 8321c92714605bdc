// Webapp is a small web application that signs people in with OpenID Connect.
//
// It is an example and a test at once: it is written against github.com/coreos/go-oidc and golang.org/x/oauth2 as any
// application would be, knows nothing of Gatehouse but the issuer's address, and does what a relying party must:
// state bound to the browser, nonce, PKCE with S256, the issuer of the answer (RFC 9207), the ID token verified, tokens
// kept on the server, refresh, and RP-initiated logout with id_token_hint.
//
//	webapp -issuer http://127.0.0.1:8080/t/acme -client-id ID -client-secret SECRET
//
// Register http://127.0.0.1:8090/callback as redirect URI and http://127.0.0.1:8090/signedout as post-logout redirect
// URI of the application. Sessions are kept in memory and are gone after a restart.
package main
