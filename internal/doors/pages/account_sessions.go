package pages

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// maxSessions bounds how many sessions a person is shown.
const maxSessions = 100

// showSessions lists where the person is signed in.
func (d *Door) showSessions(v *visit) error {
	return d.account(v, "/account/sessions", func(s session.Session, _ signin.Facts) error {
		var (
			all []session.Session
			now time.Time
		)
		if err := d.DB.View(v.ctx(), v.as(s), func(tx *db.Tx) error {
			var err error
			now = tx.Now()
			all, err = session.List(v.ctx(), tx, filter.All(), s.User, id.ID{}, maxSessions)
			return err
		}); err != nil {
			return err
		}
		p := &sessionsPage{frame: frame{Title: say("sessions.title"), Tabs: tabs(v.site.Path, "sessions"),
			Notice: v.noticeOf()}, Others: len(all) > 1}
		for _, o := range all {
			row := sessionRow{
				ID: o.ID.String(), Device: deviceOf(o.Agent), Seen: say("sessions.active", "Ago", ago(now, o.LastSeen)),
				Address: o.Address,
				Started: utcMinute(o.CreatedAt), StartedAt: o.CreatedAt.UTC().Format(time.RFC3339),
				Current: o.ID == s.ID,
			}
			if row.Current { // this very one first
				p.Sessions = append([]sessionRow{row}, p.Sessions...)
			} else {
				p.Sessions = append(p.Sessions, row)
			}
		}
		return d.render(v, http.StatusOK, p)
	})
}

// revokeSession signs out one of the person's other browsers, or all others.
func (d *Door) revokeSession(v *visit) error {
	return d.account(v, "/account/sessions", func(s session.Session, _ signin.Facts) error {
		which := v.form.Get("session")
		err := d.DB.Update(v.ctx(), v.as(s), func(tx *db.Tx) error {
			if which == "others" {
				return logout.EndAll(v.ctx(), tx, s.User, s.ID, "account")
			}
			other, err := id.Parse(which)
			if err != nil {
				return session.ErrNotFound
			}
			o, err := session.Get(v.ctx(), tx, other)
			if err != nil {
				return err
			}
			if o.User != s.User { // another user's session does not exist from here
				return session.ErrNotFound
			}
			return logout.End(v.ctx(), tx, other, "account")
		})
		if err != nil && fault.Of(err) != fault.NotFound {
			return err
		}
		return v.redirect("/account/sessions?done=session")
	})
}

// serveSession tells a reverse proxy whether the browser is signed in: 200 with the session as
// JSON, or 401.
func (d *Door) serveSession(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	on, err := visiting(d, r, func(tx *db.Tx) (session.Session, *session.Session, error) {
		on, err := d.SignIn.AllowsSession(r.Context(), tx, web.Cookies(r, session.Cookie))
		return on, &on, err
	})
	if err != nil && !errors.Is(err, session.ErrNone) {
		web.NoteError(r.Context(), err)
	}
	status, answer := http.StatusOK, any(nil)
	if err == nil {
		answer = session.ViewOf(on)
	} else {
		f := fault.As(err)
		status = web.Status(f.Kind)
		answer = map[string]any{"code": f.Code, "detail": f.Reason, "request_id": web.RequestIDOf(r.Context())}
	}
	body, err := json.Marshal(answer)
	if err != nil { // of texts and times, which always can be
		panic("pages: " + err.Error())
	}
	web.WriteJSON(w, status, append(body, '\n'))
}
