package pdp_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/cerbos/cerbos-sdk-go/cerbos"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/pdpproxy"
)

// Cerbos' own client asks through the proxy with an address alone, as it asks a sidecar.
func TestTheCerbosClientThroughTheProxy(t *testing.T) {
	w := onSQLite(t)
	app := w.Client(w.acme, application.New{Name: "Shop", Type: application.Machine, ClientID: "shop",
		Scopes: []string{application.ScopeDecide}})
	powerless := w.Client(w.acme, application.New{Name: "Other", Type: application.Machine})
	o := pdpproxy.Options{URL: w.Base("acme"), GRPC: w.conn.Target(), ClientID: app.ClientID, ClientSecret: app.Secret,
		Listen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}
	wrong := o
	wrong.ClientID, wrong.ClientSecret = powerless.ClientID, powerless.Secret
	if _, err := pdpproxy.Open(ctx, wrong); err == nil || !strings.Contains(err.Error(), "gatehouse:decide") {
		t.Errorf("an application that may not ask: %v", err)
	}
	run, stop := context.WithCancel(ctx)
	p, err := pdpproxy.Open(run, o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(run) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	overGRPC, overHTTP := p.Addr()
	c, err := cerbos.New(overGRPC.String(), cerbos.WithPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	sam := cerbos.NewPrincipal("sam", "employee")
	for owner, want := range map[string]bool{"sam": true, "kim": false} {
		resource := cerbos.NewResource("leave_request", "L1").WithAttr("owner", owner)
		if ok, err := c.IsAllowed(ctx, sam, resource, "view"); err != nil || ok != want {
			t.Errorf("%s's: %v %v", owner, ok, err)
		}
	}
	if made, by := w.recorded.last(); by.Actor.ID != app.ID || made.ID.IsZero() {
		t.Errorf("recorded as asked by %+v", by.Actor)
	}
	res, err := http.Post("http://"+overHTTP.String()+"/api/check/resources", "application/json",
		strings.NewReader(samViews+`"resources":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Errorf("over HTTP: %s", res.Status)
	}
}
