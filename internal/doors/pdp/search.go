package pdp

import (
	"context"
	"encoding/json"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp/wire"
)

// search is a request of a search (AuthZEN 1.0 §8).
type search struct {
	*authzenv1.AccessEvaluationRequest
	token string
	limit int // results at most; -1 if the request has none
	size  int // of the body, in bytes
}

func readSearch(body string) (*search, error) {
	m := &authzenv1.AccessEvaluationRequest{}
	page, err := wire.ReadSearch(body, m)
	if err != nil {
		return nil, err
	}
	return &search{AccessEvaluationRequest: m, token: page.Token, limit: page.Limit, size: len(body)}, nil
}

// found is the answer to a search.
type found[T any] struct {
	Page struct {
		Next  string `json:"next_token"`
		Count int    `json:"count"`
	} `json:"page"`
	Context map[string]any `json:"context,omitempty"`
	Results []T            `json:"results"`
}

func (f *found[T]) json() ([]byte, error) {
	f.Page.Count = len(f.Results)
	if f.Results == nil {
		f.Results = []T{}
	}
	return json.Marshal(f)
}

var errResources = status.Error(codes.Unimplemented,
	"Resources are not searched here: they are the application's. POST /api/plan/resources returns the condition "+
		"that a resource must meet, for a query of the application's own. "+evaluationsPath+
		" takes many candidates at once.")

// searchResources refuses the search for resources (§8.5). Their list is the application's, and an
// empty answer would say that nothing was found.
func (s authzenService) searchResources(context.Context, *requester, string) ([]byte, error) {
	return nil, errResources
}
