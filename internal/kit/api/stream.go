package api

import (
	"io"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Stream is the output of an operation that answers more than should stand in memory at once.
type Stream struct {
	ContentType string // "text/csv"
	Name        string // under which a browser saves it
	// Write writes all of it. What fails before the first byte belongs before the Stream: an error
	// of Write cuts the connection, so that half an answer does not look like a whole one.
	Write func(w io.Writer) error
}

// stream is how huma wants a Stream.
type stream struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        func(huma.Context)
}

// answer returns the stream as huma wants it.
func (s Stream) answer() *stream {
	return &stream{ContentType: s.ContentType, Disposition: disposition(s.Name), Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		if err := s.Write(web.Pieces(w)); err != nil {
			panic(err) // kit/web logs it and cuts the connection
		}
	}}
}
