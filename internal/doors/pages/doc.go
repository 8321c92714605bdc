// Package pages is the door that people walk through: sign-in, registration,
// recovery, consent, sign-out and the account pages, as plain HTML forms.
//
// There is no JavaScript. A page is a typed struct (page.go), its template of the
// same name and the words of locales/; handlers are one file per action. A form is
// answered by 303 to the next page when it went well, and by the same form with
// a sentence at the field (4xx) when it did not.
//
// Invariants:
//   - Which step comes next is asked of iam/signin.Next, by one function here
//     (advance); no handler names another's page.
//   - Browsers are sent only where the flow's row says.
//   - An unknown account and a wrong password get the same words, the same status
//     and cost the same time; so do a known and an unknown address in registration
//     with confirmation and in the forgotten-password form.
//   - Passwords are hashed outside transactions.
//   - The session cookie is set when everything the tenant asks for is proved, and
//     always holds a new token.
//
// It never decides whether a credential is good (iam/credential), and it speaks no
// protocol: applications are answered by the door that began the flow.
package pages
