package api

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const csvType = "text/csv"

// Table is an output that is answered as CSV too, to a caller that accepts text/csv (RFC 4180).
type Table interface {
	// Table returns the rows. The first one names the columns.
	Table() [][]string
}

// Cell returns a text as a cell of CSV that a spreadsheet takes for text. Names are typed by
// strangers, and a spreadsheet would compute one that begins like a formula.
func Cell(text string) string {
	if strings.IndexAny(text, "=+-@\t\r") == 0 {
		return "'" + text
	}
	return text
}

// writeCSV is the format of text/csv.
func writeCSV(w io.Writer, v any) error {
	t, ok := v.(Table)
	if !ok {
		return fmt.Errorf("api: %T is not a Table", v)
	}
	c := csv.NewWriter(w)
	for _, row := range t.Table() {
		for i, cell := range row {
			row[i] = Cell(cell)
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// withoutCSV makes a request for CSV one for JSON, as for any other type that is not offered.
func withoutCSV(r *http.Request) {
	if strings.Contains(r.Header.Get("Accept"), csvType) {
		r.Header.Set("Accept", "application/json")
	}
}
