// Package signin owns sign-in: the flow of one browser, the rule that orders its steps, and the
// start of the session.
//
// Engine is the one path. Begin tells where a flow would stand that began now, Read where a
// stored flow stands, and Advance applies one step. docs/decisions/0012-sign-in-engine.md says why.
//
// Invariants:
//   - Next alone orders the steps. No step names another step.
//   - The table of methods (method.go) alone knows what a proof is worth.
//   - A proof holds only for the version of the credential that it was made with.
//   - A flow belongs to the browser that began it. Load and Finish require that browser's secret,
//     of which only a hash is stored: a flow id in a link or a log is worth nothing.
//   - The return address comes only from the flow: from its row, or from the sealed cookie in which
//     its browser carries it until something is stored. No parameter of a request sets it.
//   - One conditional statement finishes a flow: of concurrent finishers exactly one gets it.
//   - A step is saved only on the version it was read at, so two steps posted at once cannot both
//     count.
//
// It draws no page, sets no cookie and speaks no protocol: doors/pages performs the steps, and
// doors/oidc begins flows and answers applications.
package signin
