// Package page cuts lists into pages, by a limit, an opaque cursor and a stable order by id.
//
// A cursor is a position, never a permission. It holds the last id of a page and nothing else, so a
// forged cursor only moves within the list that the caller may read. The package owns no SQL.
package page

import (
	"encoding/base64"
	"strconv"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Limits of a page.
const (
	defaultLimit = 50
	MaxLimit     = 200
)

// Request selects a page of a list.
type Request struct {
	Limit int   // 1 to MaxLimit
	After id.ID // the last id of the page before; zero for the first page
}

// Fetch returns the number of rows that a store reads. It is one more than the page holds, which
// tells whether there is a next page.
func (r Request) Fetch() int { return r.Limit + 1 }

// List is one page as the API shows it.
type List[T any] struct {
	Items      []T    `json:"items" doc:"The items of this page, in the list's order."`
	NextCursor string `json:"next_cursor,omitempty" doc:"Give it as cursor to get the next page; absent on the last page."`
}

// First returns the first page of the default size.
func First() Request { return Request{Limit: defaultLimit} }

// Parse reads the parameters limit and cursor, each "" if absent. It fails with an Invalid fault
// that names every wrong parameter.
func Parse(limit, cursor string) (Request, error) {
	r := First()
	var wrong fault.Fields
	if limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > MaxLimit {
			wrong.Add("limit", "The limit must be a whole number from 1 to %d.", MaxLimit)
		} else {
			r.Limit = n
		}
	}
	if cursor != "" {
		after, err := ParseCursor(cursor)
		if err != nil {
			wrong.Add("cursor",
				"This cursor is not one of ours. Give next_cursor of the page before, unchanged, or leave it out to "+
					"start again.")
		}
		r.After = after
	}
	return r, wrong.Err("request.invalid")
}

// Of returns the page of the rows that the store read: at most r.Fetch() items, in order.
func Of[T any](r Request, items []T, idOf func(T) id.ID) List[T] {
	l := List[T]{Items: items}
	if len(items) > r.Limit {
		l.Items = items[:r.Limit:r.Limit]
		l.NextCursor = Cursor(idOf(items[r.Limit-1]))
	}
	if l.Items == nil {
		l.Items = []T{} // a list is never null in JSON
	}
	return l
}

// Map converts the items of a page, such as rows to views of the API.
func Map[T, U any](l List[T], f func(T) U) List[U] {
	m := List[U]{Items: make([]U, len(l.Items)), NextCursor: l.NextCursor}
	for i, v := range l.Items {
		m.Items[i] = f(v)
	}
	return m
}

// version is the first byte of a cursor, so that its form can change later.
const version = 1

// Cursor returns the opaque text for the position after last.
func Cursor(last id.ID) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{version}, last[:]...))
}

// ParseCursor is the inverse of Cursor. It fails with id.ErrInvalid.
func ParseCursor(s string) (id.ID, error) {
	var raw [18]byte // one byte more, so that a longer text fails
	if len(s) != base64.RawURLEncoding.EncodedLen(17) {
		return id.ID{}, id.ErrInvalid
	}
	n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(s))
	if err != nil || n != 17 || raw[0] != version {
		return id.ID{}, id.ErrInvalid
	}
	after := id.ID(raw[1:17])
	if after.IsZero() {
		return id.ID{}, id.ErrInvalid
	}
	return after, nil
}
