package session

import (
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Cookie is the name that kit/web's cookie functions know the token by.
const Cookie = "session"

// touchEvery bounds how often a visit is written down.
const touchEvery = time.Minute

// keepEnded is how long an ended session can still be looked at in the database.
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
	UserName  string // the user's email, for people reading; set by Find only
	CreatedAt time.Time
	AuthTime  time.Time // when the first factor was proved (Core §2, auth_time)
	LastSeen  time.Time // at most a minute behind
	ExpiresAt time.Time // the end, however busy
	Idle      time.Duration
	AMR       []string // methods proved (RFC 8176 §2)
	ACR       string   // class of the sign-in (Core §2, acr)
	Address   string   // where it was started
	Agent     string   // the browser's own words, at most 256 bytes
}

// Stale reports whether the visit at now should be written down with Touch.
func (s Session) Stale(now time.Time) bool { return now.Sub(s.LastSeen) >= touchEvery }

// Ends is when the session ends if nobody comes back after LastSeen.
func (s Session) Ends() time.Time {
	if idle := s.LastSeen.Add(s.Idle); idle.Before(s.ExpiresAt) {
		return idle
	}
	return s.ExpiresAt
}

// New says whose session is to be started and what they proved.
type New struct {
	User     id.ID
	UserName string // for the audit log
	AMR      []string
	ACR      string
	AuthTime time.Time     // zero: now
	Idle     time.Duration // 0: 12 hours
	Max      time.Duration // 0: 7 days
}

// ErrNone is returned when a token opens no session: it is no token of ours, the
// session has ended, or its user or tenant is not active.
var ErrNone = fault.New(fault.Unauthenticated, "session.none", "You are not signed in. Sign in and try again.")

// ErrNotFound is returned for a session id that names no living session.
var ErrNotFound = fault.New(fault.NotFound, "session.not_found", "There is no such session, or it has ended already.")
