// Package console is the door of the admin console: the built files of its app, and the sign-in
// that gives a browser its session there. A tenant's console is at {issuer}/console/.
//
// The app is static. It calls the management API, which accepts the cookie of the console session:
// iam/access admits it, and iam/session owns it. No token reaches JavaScript. The person signs in
// through iam/signin, as for the account pages, with application.ConsoleID as the application.
//
// The folder dist has the built files. Its contract with the build:
//   - index.html has one <head>. Its links are relative, because every tenant has another base: the
//     door writes <base href> and <meta property="csp-nonce" nonce> behind <head>.
//   - Files below assets/ have a hash of their content in the name. Browsers keep them for a year.
//   - A file with .br or .gz beside it is sent compressed.
//   - There is no inline script, no inline style and no eval. A style element that a script adds
//     needs the nonce of that meta element, as Mantine's and CodeMirror's do.
//
// A binary that was built without the app answers with a page that says how to build it.
package console
