// Package web handles every request before a door sees it, and every answer after.
//
// It owns:
//
//   - the tenant of a request, and the base under which it was reached;
//   - the client's address and scheme, which only named proxies may report;
//   - limits on everything that a client controls: headers, path, query, body, time and rate;
//   - the classes of routes, which decide CORS, cross-origin protection and the form of refusals;
//   - the request id, the log line and the metrics of a request, and recovery from panics;
//   - default security headers, cookies, listeners, TLS and graceful shutdown.
//
// It never knows users, applications, protocols or the path of a door. The tenant directory is
// plugged in as a SiteResolver.
//
// A door registers patterns ("GET /oauth2/authorize") on Routes, with a class. The tenant's prefix
// is removed before they match. Do not register subtree patterns ("/account/"): ServeMux would
// redirect "/account" to a path without the prefix. Redirects and links use Site.Local.
package web
