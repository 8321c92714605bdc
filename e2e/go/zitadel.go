package main

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// zitadel is a site with the relying party of zitadel/oidc.
func zitadel(ctx context.Context, known registration, origin string) (http.Handler, error) {
	key := []byte(rand.Text()[:16])
	cookies := httphelper.NewCookieHandler(key, key, httphelper.WithUnsecure())
	party, err := rp.NewRelyingPartyOIDC(ctx, known.issuer, known.clientID, known.clientSecret, origin+"/callback",
		[]string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail},
		rp.WithCookieHandler(cookies), rp.WithPKCE(cookies))
	if err != nil {
		return nil, err
	}
	site := http.NewServeMux()
	site.Handle("/login", rp.AuthURLHandler(rand.Text, party))
	site.Handle("/callback", rp.CodeExchangeHandler(rp.UserinfoCallback(func(w http.ResponseWriter, _ *http.Request,
		tokens *oidc.Tokens[*oidc.IDTokenClaims], _ string, _ rp.RelyingParty, info *oidc.UserInfo) {
		show(w, map[string]any{"claims": tokens.IDTokenClaims, "info": info})
	}), party))
	return site, nil
}
