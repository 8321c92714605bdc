package session

import (
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// touchEvery is the shortest time between two recorded visits.
const touchEvery = time.Minute

// keepEnded is how long an ended session stays in the database.
const keepEnded = 30 * 24 * time.Hour

// What a new session is limited to when its starter names no limits.
const (
	defaultIdle = 12 * time.Hour
	defaultMax  = 7 * 24 * time.Hour
)

// Session is one signed-in browser.
type Session struct {
	ID        id.ID
	User      id.ID
	UserName  string // the user's login, for display; set by Find only
	CreatedAt time.Time
	AuthTime  time.Time // when the first factor was proved (OpenID Connect Core §2, auth_time)
	LastSeen  time.Time // at most a minute behind
	ExpiresAt time.Time // the absolute end
	Idle      time.Duration
	AMR       []string // methods proved (RFC 8176 §2)
	ACR       string   // class of the sign-in (OpenID Connect Core §2, acr)
	Address   string   // where it was started
	Agent     string   // User-Agent, at most 256 bytes

	SecondFactor bool // its user has set one up; set by Find only

	Generation int64 // of its user when it was started or renewed; see user.User
}

// Stale reports whether a visit at now should be recorded with Touch.
func (s Session) Stale(now time.Time) bool { return now.Sub(s.LastSeen) >= touchEvery }

// ends returns when the session ends without another visit.
func (s Session) ends() time.Time {
	if idle := s.LastSeen.Add(s.Idle); idle.Before(s.ExpiresAt) {
		return idle
	}
	return s.ExpiresAt
}

// New describes a session to start: the user, what was proved, and the limits.
type New struct {
	User     id.ID
	UserName string // for the audit log
	AMR      []string
	ACR      string
	AuthTime time.Time     // zero: now
	Idle     time.Duration // 0: 12 hours
	Max      time.Duration // 0: 7 days

	Generation int64 // the user's, when the proofs were checked
}

// ErrNone is returned for a token that opens no session: the token is not ours, the session has
// ended, or its user or tenant is not active.
var ErrNone = fault.New(fault.Unauthenticated, "session.none", "You are not signed in. Sign in and try again.")

// ErrNotFound is returned for an id of no active session.
var ErrNotFound = fault.New(fault.NotFound, "session.not_found", "There is no such session, or it has ended already.")
