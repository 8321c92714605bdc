// Package e2e holds the tests that only the real binary can pass: clients nobody
// here wrote, a browser, sudden death under load, and the commands of the README.
package e2e
