package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// Server is one listener and its handler. Fill in a struct literal, then call Listen and Serve.
type Server struct {
	Name     string // "public" or "ops", for the log
	Address  string // "127.0.0.1:8080", ":8080"
	Handler  http.Handler
	CertFile string // PEM; with KeyFile makes the listener speak TLS
	KeyFile  string
	Log      *slog.Logger
	Clock    clock.Clock
	// Drain is how long requests in flight may take after Serve's context has ended. The default is
	// 20 s.
	Drain time.Duration
	// PerClient bounds the connections of one client. With 0 they are not counted, and those of a
	// trusted proxy never are.
	PerClient int64
	Proxies   Proxies

	listener net.Listener
}

// ReadTimeout is how long a request may take to arrive. Handler is stricter with bodies.
const ReadTimeout = 30 * time.Second

// WriteTimeout is how long an answer may take from the end of the request's headers on. One that is
// written in pieces may take so long for each.
const WriteTimeout = 60 * time.Second

// Listen binds the address and reads the certificate, so that every reason not to start is known
// before anything is served.
func (s *Server) Listen() error {
	var conf *tls.Config
	if s.CertFile != "" {
		cert, err := newCertificate(s.CertFile, s.KeyFile, s.Clock, s.Log)
		if err != nil {
			return err
		}
		conf = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: cert.get,
			NextProtos:     []string{"h2", "http/1.1"},
		}
	}
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listen for %s requests: %w", s.Name, err)
	}
	l = shared(l, s.PerClient, s.Proxies)
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	s.listener = l
	return nil
}

// Addr returns the bound address, for a configured port of 0. Call it after Listen.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until ctx ends. Then it accepts no new ones, gives those in flight Drain
// to end, and returns nil. Call it after Listen.
func (s *Server) Serve(ctx context.Context) error {
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	srv := &http.Server{
		BaseContext:       func(net.Listener) context.Context { return base },
		Handler:           s.Handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       ReadTimeout,
		WriteTimeout:      WriteTimeout,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		// "OPTIONS *" is as unknown here as any other address
		DisableGeneralOptionsHandler: true,
		// strangers' broken handshakes
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s requests: %w", s.Name, err)
	case <-ctx.Done():
	}
	drain := s.Drain
	if drain == 0 {
		drain = 20 * time.Second
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		cut(errCutOff) // before the connections end, which looks as if the clients had gone
		srv.Close()
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("stop serving %s requests: %w", s.Name, err)
		}
		s.Log.Warn("requests were cut off at shutdown", "listener", s.Name)
	}
	return nil
}
