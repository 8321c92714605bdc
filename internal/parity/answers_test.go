package parity

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
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

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
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

// compiledAgain reports whether we answer for one resource as Cerbos did, after some more
// compilations of the same policies. Cerbos keeps a rule once for each of its roles and derived
// roles, in the order of a Go map, which it creates when it compiles.
//
// The order shows in two ways. The first rule that fails names the policy that denied (strict
// evaluation). A condition that is not met has an output only if it is not the first of its kind.
//
// Each pattern of actions has a map of its own. An answer with the rarer order of several maps
// comes once in a hundred compilations. So each action is compared alone, and the rest together:
// each must equal Cerbos' answer once.
func (w *world) compiledAgain(t *testing.T, server *process.Server, theirs *responsev1.CheckResourcesResponse,
	in *requestv1.CheckResourcesRequest, i int) bool {
	const times = 60 // the rarer order of two entries of a small map comes once in eight
	one := proto.CloneOf(in)
	one.Resources = one.Resources[i : i+1]
	same := proto.CloneOf(theirs)
	same.Results = same.Results[i : i+1]
	missing := byAction(same)
	again := *w
	again.files = compiler.Files{}
	for path, text := range w.files {
		if !strings.HasPrefix(path, "resources/") || strings.HasPrefix(path,
			"resources/"+strings.ReplaceAll(one.Resources[0].Resource.Kind, ":", "_")+"_") {
			again.files[path] = text
		}
	}
	for range times {
		w.compiled++
		again.name = fmt.Sprintf("%s-%d", w.name, w.compiled)
		ours, _ := again.doors(t, server)
		out, err := ours.check(t.Context(), one)
		if err != nil {
			continue
		}
		for action, answer := range byAction(out) {
			if proto.Equal(missing[action], answer) {
				delete(missing, action)
			}
		}
		if len(missing) == 0 {
			return true
		}
	}
	return false
}

// byAction takes the answer about one resource apart: what it says of each action, and under "" the
// rest.
func byAction(answer *responsev1.CheckResourcesResponse) map[string]proto.Message {
	parts := map[string]proto.Message{}
	one := answer.Results[0]
	for action := range one.Actions {
		part := proto.CloneOf(answer)
		only(part.Results[0], action)
		parts[action] = alike(part)
	}
	rest := proto.CloneOf(answer)
	only(rest.Results[0], "")
	parts[""] = alike(rest)
	return parts
}

// only leaves of an answer what is said of one action.
func only(r *responsev1.CheckResourcesResponse_ResultEntry, action string) {
	other := func(name string) bool { return name != action }
	maps.DeleteFunc(r.Actions, func(name string, _ effectv1.Effect) bool { return other(name) })
	maps.DeleteFunc(r.GetMeta().GetActions(), func(name string,
		_ *responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta) bool {
		return other(name)
	})
	r.Outputs = slices.DeleteFunc(r.Outputs, func(o *enginev1.OutputEntry) bool { return other(o.Action) })
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
	failed := status.Code(theirs) == codes.Internal || status.Code(theirs) == codes.Unknown &&
		strings.Contains(theirs.Error(), "panic caught")
	return failed && ours != nil && strings.Contains(ours.Error(), engine.ErrNoPlan.Reason)
}

func shown(m proto.Message) string { return protojson.MarshalOptions{}.Format(m) }

func sortByText(list []any) {
	slices.SortFunc(list, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}
