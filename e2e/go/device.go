package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// device is a command line that signs a person in by a code (RFC 8628), with golang.org/x/oauth2.
// It writes the address for the person, and then the claims of the ID token.
func device(ctx context.Context, known registration, out io.Writer) error {
	provider, err := oidc.NewProvider(ctx, known.issuer)
	if err != nil {
		return err
	}
	config := oauth2.Config{
		ClientID: known.clientID,
		Endpoint: provider.Endpoint(),
		Scopes:   []string{oidc.ScopeOpenID, "profile", oidc.ScopeOfflineAccess},
	}
	device, err := config.DeviceAuth(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, device.VerificationURIComplete)
	token, err := config.DeviceAccessToken(ctx, device)
	if err != nil {
		return err
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := provider.Verifier(&oidc.Config{ClientID: known.clientID}).Verify(ctx, raw)
	if err != nil {
		return err
	}
	var claims map[string]any
	if err := idToken.Claims(&claims); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(claims)
}
