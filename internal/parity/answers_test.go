package parity

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	svcv1 "github.com/cerbos/cerbos/api/genpb/cerbos/svc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// A pdp answers requests. Its errors are gRPC's.
type pdp interface {
	check(ctx context.Context, in *requestv1.CheckResourcesRequest) (*responsev1.CheckResourcesResponse, error)
	plan(ctx context.Context, in *requestv1.PlanResourcesRequest) (*responsev1.PlanResourcesResponse, error)
}

// overGRPC asks a Cerbos service, with a bearer token unless it is empty.
type overGRPC struct {
	client svcv1.CerbosServiceClient
	token  string
}

func dial(t testing.TB, address, token string) overGRPC {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return overGRPC{svcv1.NewCerbosServiceClient(conn), token}
}

func (p overGRPC) authenticated(ctx context.Context) context.Context {
	if p.token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.token)
}

func (p overGRPC) check(ctx context.Context,
	in *requestv1.CheckResourcesRequest) (*responsev1.CheckResourcesResponse, error) {
	return p.client.CheckResources(p.authenticated(ctx), in)
}

func (p overGRPC) plan(ctx context.Context, in *requestv1.PlanResourcesRequest) (*responsev1.PlanResourcesResponse,
	error) {
	return p.client.PlanResources(p.authenticated(ctx), in)
}

// overHTTP asks below a base address: a Cerbos server's, or a tenant's.
type overHTTP struct {
	base, token string
}

func (p overHTTP) check(ctx context.Context,
	in *requestv1.CheckResourcesRequest) (*responsev1.CheckResourcesResponse, error) {
	out := &responsev1.CheckResourcesResponse{}
	return out, p.post(ctx, "/api/check/resources", in, out)
}

func (p overHTTP) plan(ctx context.Context, in *requestv1.PlanResourcesRequest) (*responsev1.PlanResourcesResponse,
	error) {
	out := &responsev1.PlanResourcesResponse{}
	return out, p.post(ctx, "/api/plan/resources", in, out)
}

func (p overHTTP) post(ctx context.Context, path string, in, out proto.Message) error {
	body, err := protojson.Marshal(in)
	if err != nil {
		return err
	}
	code, answer, err := p.send(ctx, path, body)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return status.Error(codeOf(code), string(answer))
	}
	return protojson.Unmarshal(answer, out)
}

func (p overHTTP) send(ctx context.Context, path string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

func codeOf(httpStatus int) codes.Code {
	switch httpStatus {
	case http.StatusBadRequest:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusInternalServerError:
		return codes.Internal
	}
	return codes.Unknown
}

// alike sorts the parts of an answer whose order means nothing, and removes ids that differ in
// every answer.
func alike[M proto.Message](m M) M {
	switch out := any(m).(type) {
	case *responsev1.CheckResourcesResponse:
		out.CerbosCallId = ""
		for _, r := range out.Results {
			slices.SortFunc(r.Outputs, func(a, b *enginev1.OutputEntry) int { return cmp.Compare(text(a), text(b)) })
			slices.SortFunc(r.ValidationErrors, byText)
			slices.Sort(r.GetMeta().GetEffectiveDerivedRoles())
		}
	case *responsev1.PlanResourcesResponse:
		out.CerbosCallId = ""
		slices.SortFunc(out.ValidationErrors, byText)
		if condition := out.GetFilter().GetCondition(); condition != nil {
			ordered(condition)
		}
		if out.Meta != nil {
			out.Meta.FilterDebug = orderedDebug(out.Meta.FilterDebug)
		}
	}
	return m
}

func text(m proto.Message) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func byText[M proto.Message](a, b M) int { return cmp.Compare(text(a), text(b)) }

// ordered sorts the operands of every "and" and "or", so that conditions of one meaning are equal.
// Cerbos joins rules two by two in the order of Go maps, which it creates when it compiles the
// policies, and skips some duplicates. It also turns a known object into a struct if a condition
// reads a field that the object lacks. The fields are in the order of a Go map, so two answers of
// one server differ.
func ordered(o *enginev1.PlanResourcesFilter_Expression_Operand) {
	e := o.GetExpression()
	if e == nil {
		return
	}
	for _, operand := range e.Operands {
		ordered(operand)
	}
	switch e.Operator {
	case "and", "or":
		var all []*enginev1.PlanResourcesFilter_Expression_Operand
		for _, operand := range e.Operands {
			if inner := operand.GetExpression(); inner.GetOperator() == e.Operator {
				all = append(all, inner.Operands...)
			} else {
				all = append(all, operand)
			}
		}
		slices.SortFunc(all, byText)
		e.Operands = slices.CompactFunc(all,
			func(a, b *enginev1.PlanResourcesFilter_Expression_Operand) bool { return proto.Equal(a, b) })
		if len(e.Operands) == 1 {
			o.Node = e.Operands[0].Node
		}
	case "struct":
		slices.SortFunc(e.Operands, byText)
	}
}

// orderedDebug does the same with the text for people: (or (eq a 1) (eq b 2)).
func orderedDebug(debug string) string {
	n, rest := readNode(debug)
	if strings.TrimSpace(rest) != "" {
		return debug
	}
	return n.String()
}

// node is an atom or a list in parentheses.
type node struct {
	atom string
	list []node
}

func (n node) String() string {
	if n.list == nil {
		return n.atom
	}
	operator := ""
	if len(n.list) > 0 {
		operator = n.list[0].atom
	}
	var parts []string
	for i, child := range n.list {
		part := child.String()
		if inner, ok := strings.CutPrefix(part, "("+operator+" "); i > 0 && ok && (operator == "and" ||
			operator == "or") {
			rest, _ := readNode("(" + inner)
			for _, grandchild := range rest.list {
				parts = append(parts, grandchild.String())
			}
			continue
		}
		parts = append(parts, part)
	}
	switch operator {
	case "and", "or":
		slices.Sort(parts[1:])
		if parts = slices.Compact(parts); len(parts) == 2 {
			return parts[1]
		}
	case "struct":
		slices.Sort(parts[1:])
	}
	return "(" + strings.Join(parts, " ") + ")"
}

func readNode(s string) (node, string) {
	s = strings.TrimLeft(s, " ")
	if !strings.HasPrefix(s, "(") {
		end, quoted := 0, false
		for end < len(s) && (quoted || s[end] != ' ' && s[end] != '(' && s[end] != ')') {
			if s[end] == '"' && (end == 0 || s[end-1] != '\\') {
				quoted = !quoted
			}
			end++
		}
		if end == 0 && s != "" {
			end = 1
		}
		return node{atom: s[:end]}, s[end:]
	}
	n := node{list: []node{}}
	for s = s[1:]; s != ""; {
		s = strings.TrimLeft(s, " ")
		if strings.HasPrefix(s, ")") {
			if len(n.list) == 0 {
				n.list = append(n.list, node{})
			}
			return n, s[1:]
		}
		var child node
		child, s = readNode(s)
		n.list = append(n.list, child)
	}
	return n, ""
}

// differs says how two answers differ, or "".
func differs[M proto.Message](theirs M, theirErr error, ours M, ourErr error) string {
	if theirErr != nil || ourErr != nil {
		if a, b := status.Code(theirErr), status.Code(ourErr); a != b && !noPlan(theirErr, ourErr) {
			return fmt.Sprintf("Cerbos: %v %v\nours:   %v %v", a, theirErr, b, ourErr)
		}
		return ""
	}
	if proto.Equal(alike(theirs), alike(ours)) {
		return ""
	}
	return fmt.Sprintf("Cerbos: %s\nours:   %s", shown(theirs), shown(ours))
}

// unsettled reports whether a Cerbos server answers the same question in several ways, and we in
// one or more of them. That happens if a condition names derived roles. Cerbos copies their
// conditions into it without new node ids, and takes nodes of one id for each other. Which nodes
// share an id depends on the order of a Go map.
func unsettled(ctx context.Context, theirs, ours pdp, in *requestv1.PlanResourcesRequest) bool {
	const times = 400 // of some questions there are hundreds of ways
	known, own := map[string]bool{}, map[string]bool{}
	once := func(p pdp, ways map[string]bool) {
		if out, err := p.plan(ctx, in); err == nil {
			ways[text(alike(out))] = true
		}
	}
	for range times {
		once(theirs, known)
		once(ours, own)
		for way := range own {
			if known[way] && len(known) > 1 {
				return true
			}
		}
	}
	return false
}

// noPlan reports whether both fail at the same plan. A Cerbos server fails with an internal error
// or a panic that it catches. We refuse, because neither the request nor our server is broken.
func noPlan(theirs, ours error) bool {
	return (status.Code(theirs) == codes.Internal || panicked(theirs)) && refusedPlan(ours)
}

// panicked reports whether a Cerbos server caught a panic of its planner.
func panicked(theirs error) bool {
	return status.Code(theirs) == codes.Unknown && strings.Contains(theirs.Error(), "panic caught")
}

func refusedPlan(ours error) bool {
	return ours != nil && strings.Contains(ours.Error(), engine.ErrNoPlan.Reason)
}

func shown(m proto.Message) string { return protojson.MarshalOptions{}.Format(m) }

func sortByText(list []any) {
	slices.SortFunc(list, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}
