package grant

// Revoke is revoke, for the tests.
var Revoke = revoke

// SelectOpaque is the statement that finds an opaque token.
const SelectOpaque = selectOpaque
