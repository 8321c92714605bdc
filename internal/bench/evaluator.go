package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	svcv1 "github.com/cerbos/cerbos/api/genpb/cerbos/svc/v1"
	"google.golang.org/grpc"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// bareEvaluator is the limit of a check over gRPC: Cerbos' evaluator behind a plain grpc-go server.
// It does not know its caller, keeps no record and writes no log.
type bareEvaluator struct {
	svcv1.UnimplementedCerbosServiceServer
	evaluator *engine.Evaluator
}

// CheckResources implements svcv1.CerbosServiceServer.
func (b bareEvaluator) CheckResources(ctx context.Context,
	m *requestv1.CheckResourcesRequest) (*responsev1.CheckResourcesResponse, error) {
	inputs := make([]*enginev1.CheckInput, len(m.Resources))
	for i, e := range m.Resources {
		inputs[i] = &enginev1.CheckInput{RequestId: m.RequestId, Actions: e.Actions, Principal: m.Principal,
			Resource: e.Resource}
	}
	outputs, err := b.evaluator.Check(ctx, inputs)
	if err != nil {
		return nil, err
	}
	answer := &responsev1.CheckResourcesResponse{RequestId: m.RequestId,
		Results: make([]*responsev1.CheckResourcesResponse_ResultEntry, len(outputs))}
	for i, out := range outputs {
		entry := &responsev1.CheckResourcesResponse_ResultEntry{
			Resource: &responsev1.CheckResourcesResponse_ResultEntry_Resource{Id: inputs[i].Resource.Id,
				Kind: inputs[i].Resource.Kind},
			Actions: make(map[string]effectv1.Effect, len(out.Actions)),
		}
		for action, e := range out.Actions {
			entry.Actions[action] = e.Effect
		}
		answer.Results[i] = entry
	}
	return answer, nil
}

// serveEvaluator answers by the policies in a directory, in this process.
func serveEvaluator(directory string) error {
	evaluator, err := compiler.NewBase(compiler.BaseTable(os.DirFS(directory)))()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	svcv1.RegisterCerbosServiceServer(server, bareEvaluator{evaluator: evaluator})
	fmt.Println(listener.Addr())
	return server.Serve(listener)
}

// startEvaluator starts the bare evaluator as a process of its own.
func startEvaluator(t testing.TB, directory, subject string) (*pdp, error) {
	address, pid, err := startLimit(t, "evaluator", directory)
	if err != nil {
		return nil, err
	}
	return newPDP(pid, "", "", address, "", subject)
}
