// Package web is what happens to every request before a door sees it, and to
// every answer after.
//
// It owns: which tenant a request is for and under which base it was reached;
// the client's address and scheme, believed only from named proxies; limits on
// everything a stranger controls (headers, path, query, body, time, rate); the
// request id, the one log line per request and the request metrics; recovery
// from panics; default security headers; cross-origin protection of forms;
// cookies; listeners, TLS and graceful shutdown.
//
// It never knows users, applications or what a door does. The tenant directory
// is plugged in as a SiteResolver.
//
// A door registers plain patterns on the one ServeMux of all doors
// ("GET /oauth2/authorize", "POST /signin/password"); the tenant's prefix has been
// taken off when they match. Do not register subtree patterns ("/account/"):
// ServeMux would redirect "/account" to a path without the prefix. Redirects and
// links use Site.Local or Site.URL.
package web
