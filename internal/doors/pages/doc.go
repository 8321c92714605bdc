// Package pages is the door for people: sign-in, registration, recovery, consent, sign-out and the
// account pages, as plain HTML forms.
//
// There is no JavaScript. A page is a typed struct (page.go), the template of the same name and the
// texts of locales/. Each action has a file: the folder is the sitemap. A form is answered by 303
// to the next page if it succeeded, and otherwise by the same form with a sentence at the field
// (4xx).
//
// Invariants:
//   - iam/signin says what comes next in a flow, and whether a session is enough for a page.
//     flow.go and account.go ask it.
//   - Browsers are sent only to addresses in the flow's row.
//   - An unknown account and a wrong password get the same words, the same status and cost the same
//     time. So do a known and an unknown address in registration with confirmation and in the
//     forgotten-password form.
//   - Passwords are hashed outside transactions.
//   - The session cookie is set after the commit, and always holds a new token.
//
// It never decides whether a credential is good (iam/credential) and speaks no protocol: the door
// that began the flow answers the application.
package pages
