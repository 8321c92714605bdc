package grant

// Revoke is revoke, for the tests.
var Revoke = revoke
