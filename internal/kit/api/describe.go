package api

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// The description says what is really answered. Tests compare it with every answer that they get
// (internal/testkit/world).

// headersOf describes the headers that kit/api reads for an operation.
func headersOf(op Op) []*huma.Param {
	var params []*huma.Param
	header := func(name, doc string) {
		params = append(params, &huma.Param{Name: name, In: "header", Description: doc,
			Schema: &huma.Schema{Type: huma.TypeString}})
	}
	if op.Method == http.MethodPost {
		header("Idempotency-Key", "A random key of at most 255 characters. The call takes effect once: for 24 hours, "+
			"the same request with the same key gets the same answer.")
	}
	if op.Versioned {
		header("If-Match", "The ETag of what you have seen. If it has changed since, nothing is done (412).")
		header("If-None-Match", "`*`: if there is one already, nothing is done (412).")
	}
	return params
}

// describeAnswers describes the statuses and media types of an operation's answers.
func (o Operation) describeAnswers(doc *huma.OpenAPI) {
	op := operationOf(doc, o.Op)
	problem := doc.Components.Schemas.Schema(problemType, true, "")
	failed := func(text string) *huma.Response {
		return &huma.Response{Description: text, Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: problem}}}
	}
	statuses := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}
	if o.tagged {
		op.Responses[strconv.Itoa(http.StatusNotModified)] = &huma.Response{
			Description: http.StatusText(http.StatusNotModified)}
	}
	if o.tagged || o.Method != http.MethodGet {
		statuses = append(statuses, http.StatusPreconditionFailed)
	}
	if o.Method != http.MethodGet {
		statuses = append(statuses, http.StatusConflict)
	}
	if op.RequestBody != nil {
		statuses = append(statuses, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
		for _, content := range op.RequestBody.Content {
			for _, kind := range o.Accepts {
				op.RequestBody.Content[kind] = content
			}
			if o.Method == http.MethodPatch {
				op.RequestBody.Content["application/merge-patch+json"] = content
			}
			break
		}
	}
	if o.Method == http.MethodPost { // of an Idempotency-Key
		statuses = append(statuses, http.StatusUnprocessableEntity)
	}
	for _, status := range append(statuses, o.Errors...) {
		op.Responses[strconv.Itoa(status)] = failed(http.StatusText(status))
	}
	op.Responses["default"] = failed("Another failure, such as 429 or 503.")
	if o.table {
		content := op.Responses[strconv.Itoa(o.Status)].Content
		content[csvType] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	if o.output != fileType && o.output != streamType {
		return
	}
	if len(o.Produces) == 0 {
		panic(fmt.Sprintf("api: operation %s answers bytes: declare what it produces", o.ID))
	}
	answer := op.Responses[strconv.Itoa(o.Status)]
	delete(answer.Headers, "Content-Type") // it stands below, as Content
	if !o.tagged {
		delete(answer.Headers, "ETag")
	}
	answer.Content = map[string]*huma.MediaType{}
	for _, kind := range o.Produces {
		answer.Content[kind] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
}

var (
	problemType = reflect.TypeFor[Problem]()
	fileType    = reflect.TypeFor[File]()
	streamType  = reflect.TypeFor[Stream]()
)

func operationOf(doc *huma.OpenAPI, op Op) *huma.Operation {
	item := doc.Paths[op.Path]
	switch op.Method {
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	case http.MethodPatch:
		return item.Patch
	case http.MethodDelete:
		return item.Delete
	}
	return item.Get
}
