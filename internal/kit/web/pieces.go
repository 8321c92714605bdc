package web

import (
	"io"
	"net/http"
	"time"
)

// Pieces returns a writer that gives each piece of a long answer the time that others have for all
// of theirs. A client that stops reading is still cut off.
func Pieces(w http.ResponseWriter) io.Writer { return pieces{w} }

type pieces struct{ http.ResponseWriter }

func (w pieces) Write(b []byte) (int, error) {
	// A writer without deadlines, as in tests, needs none.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(WriteTimeout))
	return w.ResponseWriter.Write(b)
}
