package pages

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

func consentStep(s signin.Standing, a *application.Application, problems []problem) *consentPage {
	p := &consentPage{frame: known(s, say("consent.page")), Application: nameOf(a)}
	for _, scope := range s.Flow.ConsentScopes {
		p.Scopes = append(p.Scopes, scopeWords(scope))
	}
	tell(&p.frame, problems)
	return p
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
