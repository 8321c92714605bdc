package wire

//lint:file-ignore SA1019 Clients still send what Cerbos has deprecated.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// MaxDepth is how deep attributes may be nested, in levels.
const MaxDepth = 100

// ErrTooDeep is the fault for a request whose attributes are nested deeper than MaxDepth.
var ErrTooDeep = fault.New(fault.Invalid, "decision.too_deep",
	"The request's attributes are nested deeper than %d levels.", MaxDepth)

// Read reads the first JSON value of body into m and ignores the rest, as grpc-gateway does.
// An empty body is an empty message. Read fails with a fault whose reason says what is wrong.
func Read(body string, m proto.Message) error {
	switch m := m.(type) {
	case *requestv1.CheckResourcesRequest:
		if readFast(body, m, readCheckResources) {
			return nil
		}
	case *requestv1.PlanResourcesRequest:
		if readFast(body, m, readPlanResources) {
			return nil
		}
	}
	return readSlow(protojson.UnmarshalOptions{}, body, m)
}

// ReadLenient is Read, but it ignores names that m does not have. AuthZEN 1.0 allows requests
// with more than it defines, such as other options.
func ReadLenient(body string, m proto.Message) error {
	if err := nothingAfter(body); err != nil {
		return err
	}
	return readSlow(protojson.UnmarshalOptions{DiscardUnknown: true}, body, m)
}

// nothingAfter refuses text after the first JSON value of an AuthZEN request. A Cerbos server
// ignores it in its own requests, and so do we there.
func nothingAfter(body string) error {
	d := json.NewDecoder(strings.NewReader(body))
	var first json.RawMessage
	if d.Decode(&first) != nil {
		return nil // what reads the value says why
	}
	if strings.Trim(body[d.InputOffset():], " \t\r\n") != "" {
		return malformed(errors.New("there is text after the JSON value"))
	}
	return nil
}

// readSlow reads with protojson. It replaces what a fast reader left in m.
func readSlow(how protojson.UnmarshalOptions, body string, m proto.Message) error {
	first, err := firstValue(body)
	if err == nil {
		err = unmarshal(how, first, m)
	}
	return err
}

func unmarshal(how protojson.UnmarshalOptions, first json.RawMessage, m proto.Message) error {
	proto.Reset(m)
	if first == nil {
		return nil
	}
	if err := how.Unmarshal(first, m); err != nil {
		return malformed(err)
	}
	return nil
}

// Page is the page member of a search request (AuthZEN 1.0 §8.2).
type Page struct {
	Token string
	Limit int // at most maxLimit; -1 if the request has none
}

// maxLimit bounds Page.Limit. It is more than any page holds, and one below what two bytes hold.
const maxLimit = math.MaxUint16 - 1

var errPage = fault.New(fault.Invalid, "decision.page",
	"page: token must be a string, and limit a whole number that is not negative.")

// ReadSearch reads a search request, which is m and a page beside it.
func ReadSearch(body string, m proto.Message) (Page, error) {
	none := Page{Limit: -1}
	if err := nothingAfter(body); err != nil {
		return none, err
	}
	first, err := firstValue(body)
	if err != nil {
		return none, err
	}
	if err := unmarshal(protojson.UnmarshalOptions{DiscardUnknown: true}, first, m); err != nil || first == nil {
		return none, err
	}
	if name := web.RepeatedMember(first); name != "" { // protojson has read no page
		return none, malformed(fmt.Errorf("the member %s may be given only once", name))
	}
	var paged struct {
		Page struct {
			Token string
			Limit *int64
		}
	}
	if err := json.Unmarshal(first, &paged); err != nil {
		return none, errPage
	}
	page := Page{Token: paged.Page.Token, Limit: -1}
	if limit := paged.Page.Limit; limit != nil {
		if *limit < 0 {
			return none, errPage
		}
		page.Limit = int(min(*limit, maxLimit))
	}
	return page, nil
}

// firstValue returns the first JSON value of body, or nil if there is none.
func firstValue(body string) (json.RawMessage, error) {
	var first json.RawMessage
	err := json.NewDecoder(strings.NewReader(body)).Decode(&first)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, malformed(err)
	case web.Nested(first, MaxDepth+envelopeDepth):
		return nil, ErrTooDeep
	}
	return first, nil
}

// maxReason bounds the decoder's message, which may quote the request, in bytes.
const maxReason = 300

// malformed is the fault for a body that cannot be read. Its reason is the decoder's message.
func malformed(err error) error {
	text := err.Error()
	return fault.New(fault.Invalid, "decision.malformed", "%s",
		strings.ToValidUTF8(text[:min(len(text), maxReason)], "\uFFFD"))
}

// envelopeDepth is how deep a request nests before its attributes begin, with room to spare.
const envelopeDepth = 8
