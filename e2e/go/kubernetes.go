package main

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

//go:embed authentication.yaml
var authenticationConfiguration string

// kubernetes answers as a Kubernetes API server would: who the caller is, by an ID token in the
// header. Below /flags it is configured by the flags of kube-apiserver, and below /file by
// authentication.yaml.
func kubernetes(ctx context.Context, known registration, _ string) (http.Handler, error) {
	file, err := fromFile(known)
	if err != nil {
		return nil, err
	}
	site := http.NewServeMux()
	for path, config := range map[string]apiserver.JWTAuthenticator{"/flags": fromFlags(known), "/file": file} {
		authenticator, err := oidc.New(ctx, oidc.Options{JWTAuthenticator: config})
		if err != nil {
			return nil, err
		}
		// The authenticator reads the issuer's metadata in the background.
		for tries := 0; authenticator.HealthCheck() != nil; tries++ {
			if tries == 1000 {
				return nil, authenticator.HealthCheck()
			}
			time.Sleep(10 * time.Millisecond)
		}
		site.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			answer, ok, err := authenticator.AuthenticateToken(r.Context(), token)
			if err != nil || !ok {
				http.Error(w, fmt.Sprint("refused: ", err), http.StatusUnauthorized)
				return
			}
			show(w, map[string]any{"username": answer.User.GetName(), "uid": answer.User.GetUID(),
				"groups": answer.User.GetGroups(), "extra": answer.User.GetExtra()})
		})
	}
	return site, nil
}

// fromFlags is the configuration that kube-apiserver makes of its flags:
//
//	--oidc-issuer-url, --oidc-client-id
//	--oidc-username-claim=email
//	--oidc-groups-claim=groups --oidc-groups-prefix=gatehouse:
func fromFlags(known registration) apiserver.JWTAuthenticator {
	none, prefix := "", "gatehouse:"
	return apiserver.JWTAuthenticator{
		Issuer: apiserver.Issuer{URL: known.issuer, Audiences: []string{known.clientID}},
		ClaimMappings: apiserver.ClaimMappings{
			Username: apiserver.PrefixedClaimOrExpression{Claim: "email", Prefix: &none},
			Groups:   apiserver.PrefixedClaimOrExpression{Claim: "groups", Prefix: &prefix},
		},
	}
}

// fromFile reads authentication.yaml, the file of --authentication-config.
func fromFile(known registration) (apiserver.JWTAuthenticator, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
	text := os.Expand(authenticationConfiguration, func(name string) string {
		return map[string]string{"ISSUER": known.issuer, "CLIENT_ID": known.clientID}[name]
	})
	var config apiserver.AuthenticationConfiguration
	if err := runtime.DecodeInto(decoder, []byte(text), &config); err != nil {
		return apiserver.JWTAuthenticator{}, err
	}
	return config.JWT[0], nil
}
