package pages

import (
	"context"
	"errors"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// showConsentStep shows what the application asks for.
func (d *Door) showConsentStep(v *visit, s signin.Standing, a *application.Application, status int,
	problems []problem) error {
	if s.Flow.Kind == signin.Device {
		return d.showDeviceStep(v, s, a, status, problems)
	}
	words, err := d.consentWords(v, s.Flow.ConsentScopes)
	if err != nil {
		return err
	}
	p := &consentPage{frame: known(s, say("consent.page")), Application: nameOf(a), Scopes: words}
	tell(&p.frame, problems)
	return d.render(v, status, p)
}

// consentWords returns what scopes let an application do. A scope of an API has the API's name and
// description.
func (d *Door) consentWords(v *visit, scopes []string) ([]message, error) {
	var out []message
	for _, scope := range scopes {
		identifier, name, ofAPI := resourceserver.Consented(scope)
		if !ofAPI {
			out = append(out, scopeWords(scope))
			continue
		}
		api, err := d.APIs.ByIdentifier(v.ctx(), v.caller, identifier)
		switch {
		case errors.Is(err, resourceserver.ErrNotFound): // deleted since: no token is issued for it
			api = &resourceserver.API{Profile: resourceserver.Profile{Name: identifier}}
		case err != nil:
			return nil, err
		}
		out = append(out, apiWords(api, name))
	}
	return out, nil
}

// apiWords returns what a scope of an API lets an application do there. An empty scope stands for
// the API without any.
func apiWords(api *resourceserver.API, scope string) message {
	if scope == "" {
		return say("scope.api", "API", api.Name)
	}
	for _, s := range api.Scopes {
		if s.Name == scope && s.Description != "" {
			return say("scope.api_described", "API", api.Name, "Description", s.Description)
		}
	}
	return say("scope.api_other", "API", api.Name, "Scope", scope)
}

// scopeWords returns what a scope lets an application do.
func scopeWords(scope string) message {
	switch scope {
	case "openid":
		return say("scope.openid")
	case "profile":
		return say("scope.profile")
	case "email":
		return say("scope.email")
	case "groups":
		return say("scope.groups")
	case "roles":
		return say("scope.roles")
	case "phone":
		return say("scope.phone")
	case "address":
		return say("scope.address")
	case "offline_access":
		return say("scope.offline_access")
	case application.ScopeManage:
		return say("scope.manage")
	case application.ScopeDecide:
		return say("scope.decide")
	}
	return say("scope.other", "Scope", scope)
}

// signInConsent stores the person's answer to the application's request.
func (d *Door) signInConsent(v *visit) error {
	decision := v.form.Get("decision")
	if decision != "allow" && decision != "deny" {
		return d.showFormAgain(v, signin.AskConsent, refused, []problem{{Text: say("problem.decision")}})
	}
	out, err := d.runStep(v, v.flowID(), signin.AskConsent,
		func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
			switch {
			case s.Flow.Kind == signin.Device && decision == "deny":
				return nil, denyDevice(ctx, tx, s)
			case s.Flow.Kind == signin.Device:
				a, err := application.Get(ctx, tx, s.Flow.Application)
				if err != nil {
					return nil, err
				}
				return nil, allowDevice(ctx, tx, s, &a)
			}
			if decision == "deny" {
				s.Flow.Denied = true
				audit.Write(tx, audit.Event{
					Action: "consent.refuse",
					Target: application.TargetOf(s.Flow.Application), Outcome: audit.Refused,
					Detail: map[string]any{"user": s.Flow.User.String()},
				})
				return nil, nil
			}
			s.Flow.Consented = true
			return nil, grant.Consent(ctx, tx, s.Flow.User, s.Flow.Application, s.Flow.ConsentScopes)
		})
	return d.answerStep(v, out, err, nil)
}
