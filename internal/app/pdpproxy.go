package app

import (
	"fmt"
	"log/slog"

	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/pdpproxy"
)

// pdpProxyCommand runs a proxy in front of a tenant's decision API.
type pdpProxyCommand struct {
	URL              string `name:"url" placeholder:"URL" help:"Issuer of the tenant, such as https://id.example.com/t/acme."`
	GRPC             string `name:"grpc" placeholder:"HOST:PORT" help:"Address of its decision API over gRPC. Default: the host of --url, at its port for https and at 8082 for http."`
	ClientID         string `name:"client-id" placeholder:"ID" help:"Machine application with the scope gatehouse:decide."`
	ClientSecretFile string `name:"client-secret-file" placeholder:"FILE" help:"File with its secret."`
	Listen           string `name:"listen" default:"127.0.0.1:3593" placeholder:"ADDRESS" help:"Where to take gRPC calls: HOST:PORT, unix:PATH or none. Default 127.0.0.1:3593."`
	HTTPListen       string `name:"http-listen" default:"127.0.0.1:3592" placeholder:"ADDRESS" help:"Where to take HTTP requests: HOST:PORT, unix:PATH or none. Default 127.0.0.1:3592."`
	AllowNetwork     bool   `name:"allow-network" help:"Listen on addresses that other machines reach. Everything that reaches them may ask as the application."`
}

// Help implements kong.HelpProvider.
func (pdpProxyCommand) Help() string {
	return `Stands beside a service as a Cerbos sidecar does, on Cerbos' ports. A Cerbos SDK needs
only its address, and no token. The proxy gets and renews the token of a machine
application. Its callers need no credentials, so it listens for this machine only.

GATEHOUSE_URL and GATEHOUSE_CLIENT_ID set the flags too. The secret comes from
--client-secret-file, GATEHOUSE_CLIENT_SECRET_FILE or GATEHOUSE_CLIENT_SECRET.
SSL_CERT_FILE names the certificates of a private authority.

GET /_cerbos/health and grpc.health.v1 say whether decisions can be had. A proxy
serves 1,024 requests at once, of at most 1 MiB each.

Examples:
  gatehouse pdp-proxy --url https://id.example.com/t/acme --client-id shop --client-secret-file /run/secrets/shop
  gatehouse pdp-proxy --url http://127.0.0.1:8080/t/acme --client-id shop   # with GATEHOUSE_CLIENT_SECRET
  gatehouse pdp-proxy --url https://id.example.com/t/acme --grpc grpc.example.com:443 --client-id shop
  gatehouse pdp-proxy --listen unix:/run/shop/pdp.sock --http-listen none`
}

// Run forwards decision requests until the process is told to end.
func (c *pdpProxyCommand) Run(e *env) error {
	o := pdpproxy.Options{GRPC: c.GRPC, Listen: c.Listen, HTTPListen: c.HTTPListen, AllowNetwork: c.AllowNetwork,
		Log: slog.New(slog.NewTextHandler(e.err, nil))}
	var err error
	if o.URL, err = e.setting("GATEHOUSE_URL", c.URL); err != nil {
		return err
	}
	if o.ClientID, err = e.setting("GATEHOUSE_CLIENT_ID", c.ClientID); err != nil {
		return err
	}
	if c.ClientSecretFile != "" {
		if o.ClientSecret, err = config.ReadSecret(c.ClientSecretFile); err != nil {
			return fmt.Errorf("--client-secret-file: %w", err)
		}
	} else {
		text, err := e.setting("GATEHOUSE_CLIENT_SECRET", "")
		if err != nil {
			return err
		}
		o.ClientSecret = secret.String(text)
	}
	p, err := pdpproxy.Open(e.ctx, o)
	if err != nil {
		return err
	}
	overGRPC, overHTTP := p.Addr()
	o.Log.Info("forwarding decisions", "to", o.URL, "grpc", overGRPC, "http", overHTTP)
	return p.Serve(e.ctx)
}
