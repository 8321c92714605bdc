// Package e2e holds the tests that only the real binary can pass: foreign clients, a browser,
// sudden death under load, a hostile tenant, and the commands of README and guides.
package e2e
