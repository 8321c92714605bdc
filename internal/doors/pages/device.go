package pages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// deviceDone is where a flow for a device ends, below the tenant's base.
const deviceDone = "/device/done"

// showDevice asks for the code that a device shows (RFC 8628 §3.3). The address that the device
// shows may have it. It is only filled in: a link that another person sends must not lead further
// without the person's own step.
func (d *Door) showDevice(v *visit) error {
	return d.devicePage(v, http.StatusOK, v.param("user_code"), nil)
}

func (d *Door) devicePage(v *visit, status int, code string, problems []problem) error {
	p := &devicePage{frame: frame{Title: say("device.title")}, Code: userCodeField(code)}
	tell(&p.frame, problems, &p.Code)
	return d.render(v, status, p)
}

func userCodeField(value string) field {
	if len(value) > maxCode {
		value = ""
	}
	hint := say("device.code_hint")
	return field{Name: "user_code", Label: say("device.code"), Hint: &hint, Type: "text", Value: value,
		Autocomplete: "off", Class: "code", MaxLength: maxCode, Plain: true}
}

// typedUserCode returns the user code of the form as it is stored, or a problem.
func (v *visit) typedUserCode() (string, *problem) {
	code, wrong := checkTyped("user_code", strings.ToUpper(typed.Code(v.form.Get("user_code"))), maxCode)
	if wrong == nil && code == "" {
		wrong = &problem{"user_code", say("device.code_missing")}
	}
	return code, wrong
}

// beginDevice begins the sign-in for the request under the code that was entered. Wrong codes are
// counted for the browser, its networks and its person, or else for all strangers of the tenant.
func (d *Door) beginDevice(v *visit) error {
	code, wrong := v.typedUserCode()
	if wrong != nil {
		return d.devicePage(v, refused, v.form.Get("user_code"), []problem{*wrong})
	}
	type answer struct {
		standing signin.Standing
		wait     time.Duration
		unknown  bool
	}
	got, err := db.Write(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (answer, error) {
		on, err := session.Find(v.ctx(), tx, web.Cookies(v.r, session.Cookie)...)
		if err != nil && !errors.Is(err, session.ErrNone) {
			return answer{}, err
		}
		keys := attempt.UserCode(v.caller.Address, on.User, v.browser)
		verdict, err := attempt.Hold(v.ctx(), tx, keys...)
		if err != nil || verdict.Blocked {
			return answer{wait: verdict.Wait(tx.Now())}, err
		}
		asked, err := grant.FindDevice(v.ctx(), tx, code)
		if errors.Is(err, grant.ErrDevice) {
			_, err := attempt.Fail(v.ctx(), tx, keys...)
			return answer{unknown: true}, err
		}
		if err != nil {
			return answer{}, err
		}
		apis, err := d.deviceAPIs(v.ctx(), tx, asked)
		if err != nil {
			return answer{}, err
		}
		b, err := json.Marshal(asked)
		if err != nil {
			return answer{}, err
		}
		demand := resourceserver.DemandOf(apis...)
		s, err := d.SignIn.BeginWith(v.ctx(), tx, web.Cookies(v.r, session.Cookie), signin.Demand{
			Kind: signin.Device, Application: asked.Application, Request: b, ReturnTo: deviceDone,
			ConsentScopes: resourceserver.Consents(apis, asked.Scopes),
			RequireMFA:    demand.TwoFactors, MaxAge: demand.MaxAge,
		})
		return answer{standing: s}, err
	})
	switch {
	case err != nil:
		return err
	case got.wait > 0:
		return d.devicePage(v, v.limited(got.wait), v.form.Get("user_code"),
			[]problem{{Text: say("problem.locked_code", "Wait", waiting(got.wait))}})
	case got.unknown:
		return d.devicePage(v, refused, v.form.Get("user_code"),
			[]problem{{"user_code", say("device.code_wrong")}})
	}
	if err := d.carry(v, got.standing); err != nil {
		return err
	}
	return v.redirectToFlow(got.standing.Flow.ID)
}

// deviceAPIs returns the APIs of a request of a device. One that was deleted since has no scopes.
func (d *Door) deviceAPIs(ctx context.Context, tx *db.Tx, asked grant.Device) ([]*resourceserver.API, error) {
	apis := make([]*resourceserver.API, len(asked.Resources))
	for i, identifier := range asked.Resources {
		api, err := resourceserver.Named(identifier, web.SiteIn(ctx).Base, func() (*resourceserver.API, error) {
			return d.APIs.Within(ctx, tx, identifier)
		})
		if errors.Is(err, resourceserver.ErrNotFound) {
			api, err = &resourceserver.API{Identifier: identifier}, nil
		}
		if err != nil {
			return nil, err
		}
		apis[i] = api
	}
	return apis, nil
}

// deviceRequest returns the request of a device that a flow is about.
func deviceRequest(f signin.Flow) (grant.Device, error) {
	var asked grant.Device
	if f.Kind != signin.Device {
		return asked, signin.ErrGone
	}
	if err := json.Unmarshal(f.Request, &asked); err != nil {
		return asked, fmt.Errorf("pages: the request of a device: %w", err)
	}
	return asked, nil
}

// showDeviceStep asks whether a device may have access. It shows what tells the
// person's own device from that of an attacker, who sends a code and waits (RFC 8628 §5.4).
func (d *Door) showDeviceStep(v *visit, s signin.Standing, a *application.Application, status int,
	problems []problem) error {
	asked, err := deviceRequest(s.Flow)
	if err != nil {
		return err
	}
	p := &deviceConsentPage{
		frame: known(s, say("device.consent_page")), Application: nameOf(a),
		UserCode: grant.FormatUserCode(asked.UserCode), Address: asked.Address, Device: programOf(asked.Agent),
		Asked: utcMinute(asked.CreatedAt), AskedAt: asked.CreatedAt.UTC().Format(time.RFC3339),
	}
	if p.Scopes, err = d.consentWords(v, s.Flow.ConsentScopes); err != nil {
		return err
	}
	tell(&p.frame, problems)
	return d.render(v, status, p)
}

// productRE matches one product of a User-Agent (RFC 9110 §10.1.5), too short for a sentence: the
// sender of the request chose it, and may be an attacker.
var productRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,23}(/[0-9A-Za-z.+-]{1,16})?$`)

// programOf names the browser or the program that a User-Agent claims.
func programOf(agent string) message {
	m := deviceOf(agent)
	product, _, _ := strings.Cut(agent, " ")
	if m.ID == "sessions.unknown" && productRE.MatchString(product) {
		return message{Raw: product}
	}
	return m
}

// allowDevice gives the device what it asks for, in the transaction of the step.
func allowDevice(ctx context.Context, tx *db.Tx, s *signin.Standing, a *application.Application) error {
	asked, err := deviceRequest(s.Flow)
	if err != nil {
		return err
	}
	on := s.Session
	switch {
	case on == nil || on.ID != s.Flow.Session: // Next asks for consent only with the flow's session
		return signin.ErrStale
	case a.Status != application.Active || !a.DeviceAuthorization: // no longer
		return grant.ErrDevice
	}
	s.Flow.Consented = true
	if on.Stale(tx.Now()) {
		session.Touch(tx, on.ID)
	}
	return grant.ApproveDevice(ctx, tx, asked.ID, grant.New{
		Application: asked.Application, User: on.User, Session: on.ID,
		Offline: a.Outlives(asked.Scopes), Scopes: asked.Scopes, Resources: asked.Resources,
		AuthTime: on.AuthTime, AMR: on.AMR, ACR: on.ACR, Generation: on.Generation,
		ApplicationGeneration: a.Generation,
	})
}

// denyDevice refuses the device, in the transaction of the step.
func denyDevice(ctx context.Context, tx *db.Tx, s *signin.Standing) error {
	asked, err := deviceRequest(s.Flow)
	if err != nil {
		return err
	}
	s.Flow.Denied = true
	return grant.DenyDevice(ctx, tx, asked.ID, asked.Application, s.Flow.User)
}

// showDeviceDone is the last page of a flow for a device.
func (d *Door) showDeviceDone(v *visit) error {
	s, err := d.readFlow(v, v.flowID())
	if err != nil {
		return err
	}
	if s.Flow.Kind != signin.Device || s.Next() != signin.Done {
		return v.redirectToFlow(s.Flow.ID)
	}
	a, err := d.applicationOf(v, s.Flow)
	if err != nil {
		return err
	}
	p := &deviceDonePage{frame: frame{Title: say("device.allowed_title")}, Application: nameOf(a), Allowed: true}
	if s.Flow.Denied {
		p.Title, p.Allowed = say("device.denied_title"), false
	}
	return d.render(v, http.StatusOK, p)
}
