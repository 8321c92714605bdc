package pdpproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // Cerbos' Go SDK compresses its calls
	"google.golang.org/grpc/encoding/proto"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// services are the gRPC services that are forwarded. All their methods are unary.
var services = []string{"cerbos.svc.v1.CerbosService", "authzen.authorization.v1.AuthorizationService"}

// frame is a message that is forwarded as it is.
type frame struct{ data []byte }

// codec passes frames through, and encodes the messages of the health service.
type codec struct{ messages encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Name implements encoding.CodecV2.
func (codec) Name() string { return proto.Name }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f.data)}, nil
	}
	return c.messages.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		f.data = data.Materialize()
		return nil
	}
	return c.messages.Unmarshal(data, v)
}

// newGRPC returns the server of the gRPC listener.
func (p *Proxy) newGRPC() *grpc.Server {
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(newCodec()),
		grpc.UnknownServiceHandler(p.forward),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(maxAtOnce),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second,
			PermitWithoutStream: true}),
	)
	healthpb.RegisterHealthServer(s, p.health)
	return s
}

// forward answers a call of a decision service with the server's answer.
func (p *Proxy) forward(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !slices.Contains(services, service) {
		return status.Errorf(codes.Unimplemented, "This proxy forwards %s only.", strings.Join(services, " and "))
	}
	if !p.enter() {
		return status.Error(codes.ResourceExhausted, tooMany)
	}
	defer p.leave()
	ctx, cancel := context.WithTimeout(stream.Context(), callTime)
	defer cancel()
	var in frame
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	given, _ := metadata.FromIncomingContext(ctx)
	ctx = metadata.NewOutgoingContext(ctx, passed(given))
	out, header, err := p.invoke(ctx, method, &in)
	if err != nil {
		return err
	}
	if err := stream.SetHeader(passed(header)); err != nil {
		return err
	}
	return stream.SendMsg(out)
}

// invoke calls a method of the server with the token. If the token is refused, it does so once more
// with another.
func (p *Proxy) invoke(ctx context.Context, method string, in *frame) (*frame, metadata.MD, error) {
	token, err := p.tokens.current()
	if err != nil {
		return nil, nil, status.Error(codes.Unavailable, sentence(err))
	}
	call := func() (*frame, metadata.MD, error) {
		var out frame
		var header metadata.MD
		err := p.conn.Invoke(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), method, in, &out,
			grpc.ForceCodecV2(newCodec()), grpc.Header(&header), grpc.MaxCallRecvMsgSize(maxReply))
		return &out, header, err
	}
	out, header, err := call()
	if status.Code(err) != codes.Unauthenticated {
		return out, header, err
	}
	fresh, renewErr := p.tokens.replace(ctx, token)
	if renewErr != nil {
		return out, header, err
	}
	token = fresh
	return call()
}

// passed returns the metadata that goes through: no credentials, and nothing of the connection.
func passed(given metadata.MD) metadata.MD {
	out := metadata.MD{}
	for name, values := range given {
		switch name {
		case "authorization", "cookie", "content-type", "user-agent", "te", "host", "connection":
			continue
		}
		if !strings.HasPrefix(name, ":") && !strings.HasPrefix(name, "grpc-") {
			out[name] = values
		}
	}
	return out
}

// checkGRPC calls the server once, so that a wrong address is found at the start.
func (p *Proxy) checkGRPC(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	_, _, err := p.invoke(ctx, "/"+services[0]+"/ServerInfo", &frame{})
	switch code := status.Code(err); code {
	case codes.OK:
		return nil
	case codes.Unavailable, codes.DeadlineExceeded, codes.Unknown, codes.Unimplemented, codes.Internal:
		return fmt.Errorf("the decision API does not answer over gRPC at %s: %s. Name its address with --grpc, or "+
			"turn gRPC off with --listen none", p.GRPC, status.Convert(err).Message())
	default:
		return refusal{fmt.Sprintf("the decision API at %s refuses the application %s: %s", p.GRPC, p.ClientID,
			status.Convert(err).Message())}
	}
}

// sentence returns the text of err as a sentence.
func sentence(err error) string {
	s := strings.TrimSuffix(err.Error(), ".")
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

var errStopped = errors.New("the proxy was stopped")
