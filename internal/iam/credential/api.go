package credential

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// PasswordPreparer checks and hashes the passwords that the management API receives.
type PasswordPreparer struct {
	Hasher *Hasher
	// MinLength returns the tenant's minimum length, in code points.
	MinLength func(ctx context.Context, tenant id.ID) (int, error)
}

// Prepare returns the hash of password after it has checked the tenant's rules, or hash itself if
// it can be imported. With neither it returns "". It is slow.
func (p PasswordPreparer) Prepare(ctx context.Context, c caller.Caller, password secret.String, hash string,
	not ...string) (string, error) {
	switch {
	case password.IsZero() && hash == "":
		return "", nil
	case hash == "":
		least, err := p.MinLength(ctx, c.Tenant)
		if err != nil {
			return "", err
		}
		if err := CheckPassword(password, Rules{MinLength: least, Not: not}); err != nil {
			return "", err
		}
		return p.Hasher.Hash(ctx, password)
	case password.IsZero():
		return parseHash(hash)
	}
	return "", fault.InvalidField("credential.password_refused", "password_hash",
		"Give a password or a password hash, not both.")
}

// Set stores the result of Prepare.
func (PasswordPreparer) Set(ctx context.Context, tx *db.Tx, user id.ID, phc string) error {
	return SetPassword(ctx, tx, user, phc)
}

// Deps are the parts of other packages that the operations need.
type Deps struct {
	Passwords PasswordPreparer
	TOTP      TOTP
	// Reset ends the sessions and clears the failure counters of a user whose credential was
	// removed.
	Reset func(ctx context.Context, tx *db.Tx, user id.ID) error
}

// SummaryView says which credentials a user has. It never holds a credential.
type SummaryView struct {
	Password          bool       `json:"password"`
	PasswordChangedAt *time.Time `json:"password_changed_at,omitempty"`
	TOTP              bool       `json:"totp" doc:"Whether an authenticator app is set up."`
	TOTPSince         *time.Time `json:"totp_since,omitempty"`
	RecoveryCodes     int        `json:"recovery_codes" doc:"The number of unused codes."`
}

type passwordInput struct {
	api.ByID
	Body struct {
		Password     secret.String `json:"password,omitempty" maxLength:"1024"`
		PasswordHash secret.String `json:"password_hash,omitempty" maxLength:"512" doc:"Instead of password: a PHC string of argon2, bcrypt, scrypt or PBKDF2, or a hash as LDAP, Django, Firebase or ASP.NET Identity has it."`
	}
}

// Operations returns the management operations on users' credentials.
func Operations(d Deps) []api.Operation {
	op := api.Tag("Credentials").Op
	manage := func(ctx context.Context, tx *db.Tx, by api.Rights, i id.ID) (user.User, error) {
		u, err := user.Get(ctx, tx, i)
		if err != nil {
			return u, err
		}
		return u, role.MayManage(ctx, tx, role.Of(by), role.OfUser(i))
	}
	return []api.Operation{
		api.Read(op("GET", "/users/{id}/credentials", "get-credentials", "credential.read",
			"Get a user's credentials"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (SummaryView, error) {
				if _, err := user.Get(ctx, tx, in.ID); err != nil {
					return SummaryView{}, err
				}
				s, err := Of(ctx, tx, in.ID)
				v := SummaryView{Password: s.Password, TOTP: s.TOTP, RecoveryCodes: s.RecoveryCodes}
				if s.Password {
					v.PasswordChangedAt = &s.PasswordChangedAt
				}
				if s.TOTP {
					v.TOTPSince = &s.TOTPSince
				}
				return v, err
			}),
		api.WriteAfter(op("PUT", "/users/{id}/password", "set-password", "credential.reset",
			"Set a user's password",
			"Ends the user's sessions."),
			func(ctx context.Context, req api.Request, in *passwordInput) (string, error) {
				phc, err := d.Passwords.Prepare(ctx, req.Caller, in.Body.Password, in.Body.PasswordHash.Reveal())
				if err == nil && phc == "" {
					err = fault.InvalidField("credential.password_refused", "password",
						"Give a password or a password hash.")
				}
				return phc, err
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *passwordInput, phc string) (api.None, error) {
				u, err := manage(ctx, tx, req.Rights, in.ID)
				if err != nil {
					return api.None{}, err
				}
				// Prepare has checked the length. Only here is the user known.
				if !in.Body.Password.IsZero() {
					if err := CheckPassword(in.Body.Password,
						Rules{Not: []string{u.Email, u.Username, u.GivenName, u.FamilyName}}); err != nil {
						return api.None{}, err
					}
				}
				if err := SetPassword(ctx, tx, in.ID, phc); err != nil {
					return api.None{}, err
				}
				return api.None{}, d.Reset(ctx, tx, in.ID)
			}),
		api.Write(op("DELETE", "/users/{id}/totp", "remove-totp", "credential.reset",
			"Remove a user's authenticator app",
			"Removes the recovery codes too, and ends the user's sessions."),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				if _, err := manage(ctx, tx, req.Rights, in.ID); err != nil {
					return api.None{}, err
				}
				removed, err := d.TOTP.Remove(ctx, tx, in.ID)
				if err != nil {
					return api.None{}, err
				}
				if !removed {
					return api.None{}, fault.New(fault.NotFound, "credential.no_totp",
						"The user has no authenticator app.")
				}
				return api.None{}, d.Reset(ctx, tx, in.ID)
			}),
	}
}
