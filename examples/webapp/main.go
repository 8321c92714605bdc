package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "webapp:", err)
		os.Exit(1)
	}
}

// run parses the flags, finds the issuer and serves until ctx ends.
func run(ctx context.Context, args []string) error {
	var cfg config
	var listen, scopes string
	flags := flag.NewFlagSet("webapp", flag.ContinueOnError)
	flags.StringVar(&cfg.Issuer, "issuer", "http://127.0.0.1:8080/t/acme", "issuer, such as the URL of a tenant")
	flags.StringVar(&cfg.ClientID, "client-id", "", "client_id of this application")
	flags.StringVar(&cfg.ClientSecret, "client-secret", os.Getenv("WEBAPP_CLIENT_SECRET"),
		"client_secret; empty for a public client (also WEBAPP_CLIENT_SECRET)")
	flags.StringVar(&listen, "listen", cmp.Or(os.Getenv("WEBAPP_LISTEN"), "127.0.0.1:8090"),
		"address to listen on (also WEBAPP_LISTEN)")
	flags.StringVar(&cfg.PublicURL, "public-url", "", "URL of this application (default http://LISTEN)")
	flags.StringVar(&scopes, "scopes", "openid profile email offline_access", "scopes to request, separated by spaces")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if cfg.ClientID == "" {
		return errors.New("-client-id is missing: create an application of type web at the issuer, and give its id")
	}
	if cfg.PublicURL == "" {
		cfg.PublicURL = "http://" + listen
	}
	if u, err := url.Parse(cfg.PublicURL); err != nil || u.Host == "" {
		return fmt.Errorf("-public-url %q is not a URL: give scheme and host, such as https://app.example.com",
			cfg.PublicURL)
	}
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	cfg.Scopes = strings.Fields(scopes)

	listener, err := net.Listen("tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: end the program that uses it, or choose another address with -listen or WEBAPP_LISTEN",
			err)
	}
	if err != nil {
		return err
	}
	app, err := discover(ctx, cfg)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           app.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	context.AfterFunc(ctx, func() {
		deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(deadline)
	})
	slog.Info("sample application ready", "url", cfg.PublicURL, "issuer", cfg.Issuer)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// discover waits up to 30 seconds for the issuer, which may still be starting.
func discover(ctx context.Context, cfg config) (*webapp, error) {
	for attempt := 0; ; attempt++ {
		app, err := newWebapp(ctx, cfg)
		if err == nil || attempt >= 60 || ctx.Err() != nil {
			return app, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}
