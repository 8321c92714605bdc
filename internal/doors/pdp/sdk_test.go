package pdp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cerbos/cerbos-sdk-go/cerbos"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	svcv1 "github.com/cerbos/cerbos/api/genpb/cerbos/svc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// sdk is Cerbos' own client, changed in nothing but its address and a token.
func (w *scene) sdk(token string) *cerbos.GRPCClient {
	w.T.Helper()
	c, err := cerbos.New(w.conn.Target(), cerbos.WithPlaintext(), cerbos.WithUnaryInterceptors(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker,
			opts ...grpc.CallOption) error {
			return invoke(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), method, req, reply,
				cc, opts...)
		}))
	if err != nil {
		w.T.Fatal(err)
	}
	return c
}

func with(token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func TestTheCerbosClient(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.sdk(w.asking(application.Asserted))
		sam := cerbos.NewPrincipal("sam", "employee")
		own := cerbos.NewResource("leave_request", "L1").WithAttr("owner", "sam")
		if info, err := c.ServerInfo(ctx); err != nil || info.GetVersion() != "0.55.0" {
			t.Errorf("server info: %v %v", info, err)
		}
		if ok, err := c.IsAllowed(ctx, sam, own, "view"); err != nil || !ok {
			t.Errorf("view: %v %v", ok, err)
		}
		resp, err := c.With(cerbos.IncludeMeta(true),
			cerbos.RequestIDGenerator(func(context.Context) string { return "r7" })).CheckResources(ctx, sam,
			cerbos.NewResourceBatch().
				Add(own, "view", "approve").Add(cerbos.NewResource("leave_request", "L2").WithAttr("owner", "kim"),
				"view"))
		if err != nil {
			t.Fatal(err)
		}
		if r := resp.GetResource("L1"); !r.IsAllowed("view") || r.IsAllowed("approve") ||
			resp.GetResource("L2").IsAllowed("view") || r.GetMeta().GetEffectiveDerivedRoles()[0] != "owner" {
			t.Errorf("batch: %v", resp)
		}
		if made, _ := w.recorded.last(); made.ID.String() != resp.GetCerbosCallId() || resp.GetRequestId() != "r7" ||
			made.Size == 0 {
			t.Errorf("call %s, recorded %s of %d bytes", resp.GetCerbosCallId(), made.ID, made.Size)
		}
		plan, err := c.PlanResources(ctx, sam, cerbos.NewResource("leave_request", ""), "view")
		if err != nil || plan.GetFilter().GetKind() != enginev1.PlanResourcesFilter_KIND_CONDITIONAL {
			t.Errorf("plan: %v %v", plan, err)
		}
		claims, err := jose.NewSigner(w.gate, jose.TypeJWT)
		if err != nil {
			t.Fatal(err)
		}
		now := w.Clock.Now()
		good, _ := claims.Sign(jose.Claims{Audience: jose.Audience{"gate"}, IssuedAt: jose.At(now),
			Expiry: jose.At(time.Now().Add(time.Hour))})
		if ok, err := c.With(cerbos.AuxDataJWT(good, "gate")).IsAllowed(ctx, sam, own, "teleport"); err != nil || !ok {
			t.Errorf("with a JWT: %v %v", ok, err)
		}
		_, err = c.With(cerbos.AuxDataJWT(good+"x", "gate")).IsAllowed(ctx, sam, own, "teleport")
		if code := status.Code(errors.Unwrap(err)); code != codes.InvalidArgument &&
			!strings.Contains(err.Error(), "invalid auxData") {
			t.Errorf("with a forged JWT: %v", err)
		}
	})
}

func TestWhoMayAskOverGRPC(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		app := w.machine(w.acme, application.Asserted)
		good := w.token(w.acme, app, application.ScopeDecide)
		service := svcv1.NewCerbosServiceClient(w.conn)
		ask := func(ctx context.Context) codes.Code {
			_, err := service.CheckResources(ctx, sams())
			return status.Code(err)
		}
		for name, c := range map[string]struct {
			ctx  context.Context
			want codes.Code
		}{
			"a good token": {with(good), codes.OK},
			"no token":     {ctx, codes.Unauthenticated},
			"two tokens": {
				metadata.AppendToOutgoingContext(with(good), "authorization", "Bearer "+good), codes.Unauthenticated,
			},
			"basic": {
				metadata.AppendToOutgoingContext(ctx, "authorization", "Basic abc"), codes.Unauthenticated,
			},
			"nonsense":      {with("x.y.z"), codes.Unauthenticated},
			"changed":       {with(good[:len(good)-4] + "AAAA"), codes.Unauthenticated},
			"another scope": {with(w.token(w.acme, app, "profile")), codes.PermissionDenied},
			"no scope":      {with(w.token(w.acme, app, "")), codes.PermissionDenied},
			"another's claim": {
				with(w.sign(w.globex, grant.AccessClaims{Scope: application.ScopeDecide,
					Application: app.ID.String()})),
				codes.Unauthenticated,
			},
		} {
			if got := ask(c.ctx); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
		if n := strings.Count(w.Log.String(), "CheckResources"); n != 9 {
			t.Errorf("%d log lines for 9 calls", n)
		}
		if strings.Contains(w.Log.String(), good) {
			t.Error("a token was logged")
		}
		// The token says whose policies answer and whose record it is, whatever the message says.
		other := w.token(w.globex, w.machine(w.globex, application.Asserted), application.ScopeDecide)
		var header metadata.MD
		if _, err := service.CheckResources(with(other), sams(), grpc.Header(&header)); err != nil ||
			len(header.Get("x-request-id")) != 1 {
			t.Errorf("%v %v", err, header)
		}
		if _, by := w.recorded.last(); by.Tenant != w.globex.Tenant || by.RequestID != header.Get("x-request-id")[0] {
			t.Errorf("recorded for %+v", by)
		}
	})
}

func sams() *requestv1.CheckResourcesRequest {
	return &requestv1.CheckResourcesRequest{
		Principal: &enginev1.Principal{Id: "sam", Roles: []string{"employee"}},
		Resources: []*requestv1.CheckResourcesRequest_ResourceEntry{
			{Actions: []string{"view"}, Resource: &enginev1.Resource{Kind: "leave_request", Id: "L1"}},
		},
	}
}

// Health and reflection are for everybody: they say what is public anyway.
func TestHealthAndReflection(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		for _, name := range []string{"", "cerbos.svc.v1.CerbosService",
			"authzen.authorization.v1.AuthorizationService"} {
			h, err := healthpb.NewHealthClient(w.conn).Check(ctx, &healthpb.HealthCheckRequest{Service: name})
			if err != nil || h.Status != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("health of %q: %v %v", name, h, err)
			}
		}
		stream, err := reflectionpb.NewServerReflectionClient(w.conn).ServerReflectionInfo(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
		}); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil || !strings.Contains(answer.String(), "cerbos.svc.v1.CerbosService") {
			t.Errorf("reflection: %v %v", answer, err)
		}
		if err := w.conn.Invoke(ctx, "/cerbos.svc.v1.CerbosAdminService/ListPolicies",
			&requestv1.ListPoliciesRequest{},
			&requestv1.ListPoliciesRequest{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("a service that we do not have: %v", err)
		}
	})
}

// What generated code would let pass is refused all the same: text that is not UTF-8, values
// nested without end, messages that are none.
func TestHostileMessages(t *testing.T) {
	w := onSQLite(t)
	token := w.asking(application.Asserted)
	call := func(m []byte) codes.Code {
		return status.Code(w.conn.Invoke(with(token), "/cerbos.svc.v1.CerbosService/CheckResources", m, new([]byte),
			grpc.ForceCodec(raw{})))
	}
	nested := func(levels int) []byte {
		v := structpb.NewNullValue()
		for range levels {
			v = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{v}})
		}
		m := sams()
		m.Principal.Attr = map[string]*structpb.Value{"a": v}
		b, err := m.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	broken := sams()
	broken.Resources[0].Resource.Attr = map[string]*structpb.Value{"a": structpb.NewStringValue("\xff")}
	notUTF8, err := broken.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	large := sams()
	large.RequestId = strings.Repeat("x", 1<<20)
	tooLarge, _ := large.MarshalVT()
	good, _ := sams().MarshalVT()
	for name, c := range map[string]struct {
		m    []byte
		want codes.Code
	}{
		"good":                  {good, codes.OK},
		"nested 90 levels":      {nested(90), codes.OK},
		"nested 101 levels":     {nested(101), codes.InvalidArgument},
		"nested 5,000 levels":   {nested(5_000), codes.InvalidArgument},
		"nested 100,000 levels": {nested(100_000), codes.InvalidArgument},
		"not UTF-8":             {notUTF8, codes.InvalidArgument},
		"no message":            {[]byte{0xff, 0xff, 0xff}, codes.InvalidArgument},
		"nothing":               {nil, codes.InvalidArgument},
		"too large":             {tooLarge, codes.ResourceExhausted},
	} {
		if got := call(c.m); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if strings.Contains(w.Log.String(), "panic") {
		t.Error("a call panicked")
	}
}

// raw sends bytes as they are.
type raw struct{}

func (raw) Name() string                  { return "proto" }
func (raw) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (raw) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = b
	return nil
}

// encodings notes how the answers of a client's calls were encoded.
type encodings struct{ last string }

func (*encodings) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*encodings) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*encodings) HandleConn(context.Context, stats.ConnStats)                       {}
func (e *encodings) HandleRPC(_ context.Context, s stats.RPCStats) {
	if h, ok := s.(*stats.InHeader); ok {
		e.last = h.Compression
	}
}

// Cerbos' client compresses what it sends. A small answer is not compressed for it, which costs
// more than a decision; a large one is.
func TestSmallAnswersAreNotCompressed(t *testing.T) {
	w := onSQLite(t)
	token := w.asking(application.Asserted)
	seen := &encodings{}
	conn, err := grpc.NewClient(w.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(seen))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := svcv1.NewCerbosServiceClient(conn)
	large := sams()
	for i := range 50 {
		e := proto.CloneOf(large.Resources[0])
		e.Resource.Id = fmt.Sprint(i, strings.Repeat("x", 400))
		large.Resources = append(large.Resources, e)
	}
	large.Resources = large.Resources[1:]
	for name, c := range map[string]struct {
		ask  *requestv1.CheckResourcesRequest
		with []grpc.CallOption
		want string
	}{
		"small, compressed":     {sams(), []grpc.CallOption{grpc.UseCompressor(gzip.Name)}, ""},
		"large, compressed":     {large, []grpc.CallOption{grpc.UseCompressor(gzip.Name)}, gzip.Name},
		"large, not compressed": {large, nil, ""},
	} {
		if _, err := client.CheckResources(with(token), c.ask, c.with...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if seen.last == encoding.Identity {
			seen.last = ""
		}
		if seen.last != c.want {
			t.Errorf("%s: the answer's encoding is %q, want %q", name, seen.last, c.want)
		}
	}
}
