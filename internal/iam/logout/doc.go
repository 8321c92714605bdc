// Package logout ends sessions, and notifies the applications that took part in them.
//
// It is the only package that ends a session before its time. Each way to end one comes here: the
// person signs out, an administrator revokes the session or locks the user, a password is reset. In
// the transaction of the end one statement writes the notices: one for each application of the
// session that has a backchannel_logout_uri. A job then sends a logout token for each notice
// (OpenID Connect Back-Channel Logout 1.0). It tries again while the application fails, and writes
// to the audit log what the application answered.
//
// The browser of a session that ends itself also loads a page of each application that has a
// frontchannel_logout_uri (OpenID Connect Front-Channel Logout 1.0). The server does not learn
// whether that page did anything.
//
// No application is notified of a session that passes its time limits: no request of ours sees the
// moment. Neither is one notified of the sign-out of a whole tenant, which is one row.
package logout
