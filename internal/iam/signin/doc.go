// Package signin owns the flow: one attempt of one browser to get from "who are
// you" to where it was going, and the rule that says which step comes next.
//
// Invariants:
//   - Next is the only dispatcher. Steps never route to one another; each one
//     records what it proved in the flow and asks Next.
//   - A flow belongs to the browser that began it. Load and Finish want that
//     browser's secret (kit/web's Browser), of which only a hash is stored, so a
//     flow id that leaks in a link or a log is worth nothing.
//   - Where a browser is sent at the end comes only from the flow's row, never
//     from a request: there is no open redirect to find.
//   - Finish consumes a flow by one conditional statement: of any number of
//     concurrent finishers exactly one gets it.
//   - A step is saved only on the version it was read at, so two steps posted at
//     once cannot both count.
//
// It never checks a credential, draws a page or speaks a protocol: doors/pages
// performs the steps, doors/oidc begins flows and answers applications.
package signin
