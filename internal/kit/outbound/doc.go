// Package outbound calls addresses that tenants register, such as a jwks_uri.
//
// A tenant must not reach through the server what the tenant cannot reach alone. So a Client
// connects to public addresses only, and to internal ones that the operator allows. It checks the
// address at each connection, after the name was resolved: a name that changes its address
// meanwhile gains nothing. It speaks https, follows no redirect, asks no proxy of the environment
// and keeps no cookies. Plain http is only for the loopback addresses of a development server.
//
// Each call is bounded in time, in the size of the answer, and in the calls that run at once: in
// all, per tenant, and per actor. An address that is slow or huge costs its own tenant, and only
// the purpose of its Client: a key set that is slow delays no sign-out.
package outbound
