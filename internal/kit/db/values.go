package db

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Row is one result row. Scan accepts pointers to id.ID, time.Time, bool, integers, string (and
// types of these), []byte, and map[string]any for an object that is stored as JSON text. Only id.ID
// and time.Time accept NULL, as their zero value.
type Row interface {
	Scan(dest ...any) error
}

// pgArgs returns a statement's arguments as Postgres accepts them: times as microseconds since
// 1970, zero times and ids as NULL, objects as JSON text.
func pgArgs(tenant id.ID, args []any) []any {
	out := make([]any, 0, len(args)+1)
	if !tenant.IsZero() {
		out = append(out, pgtype.UUID{Bytes: tenant, Valid: true})
	}
	for _, a := range args {
		switch v := a.(type) {
		case id.ID:
			out = append(out, pgtype.UUID{Bytes: v, Valid: !v.IsZero()})
		case time.Time:
			out = append(out, pgtype.Int8{Int64: v.UnixMicro(), Valid: !v.IsZero()})
		case map[string]any:
			out = append(out, jsonText(v))
		default:
			out = append(out, a)
		}
	}
	return out
}

// sqliteArgs is pgArgs for SQLite. An id is a blob of 16 bytes.
func sqliteArgs(tenant id.ID, args []any) []any {
	out := make([]any, 0, len(args)+1)
	if !tenant.IsZero() {
		out = append(out, tenant[:])
	}
	for _, a := range args {
		switch v := a.(type) {
		case id.ID:
			if v.IsZero() {
				out = append(out, nil)
			} else {
				out = append(out, v[:])
			}
		case time.Time:
			out = append(out, sql.NullInt64{Int64: v.UnixMicro(), Valid: !v.IsZero()})
		case map[string]any:
			out = append(out, jsonText(v))
		default:
			out = append(out, a)
		}
	}
	return out
}

// scanner adapts a driver's row: it converts times, ids and objects.
type scanner struct {
	scan func(dest ...any) error
}

func (s scanner) Scan(dest ...any) error {
	var wrapped []any
	for i, d := range dest {
		var w any
		switch v := d.(type) {
		case *time.Time:
			w = (*micros)(v)
		case *id.ID:
			w = (*uuidDest)(v)
		case *map[string]any:
			w = (*object)(v)
		default:
			continue
		}
		if wrapped == nil {
			wrapped = append([]any(nil), dest...)
		}
		wrapped[i] = w
	}
	if wrapped == nil {
		wrapped = dest
	}
	return s.scan(wrapped...)
}

// micros scans a BIGINT of microseconds into a time.Time, on both databases.
type micros time.Time

// ScanInt64 implements pgtype.Int64Scanner.
func (m *micros) ScanInt64(v pgtype.Int8) error {
	if !v.Valid {
		*m = micros{}
		return nil
	}
	*m = micros(time.UnixMicro(v.Int64).UTC())
	return nil
}

// Scan implements sql.Scanner.
func (m *micros) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m = micros{}
	case int64:
		*m = micros(time.UnixMicro(v).UTC())
	default:
		return fmt.Errorf("db: a time is stored as %T, want an integer of microseconds", src)
	}
	return nil
}

// uuidDest scans a uuid (Postgres) or a 16-byte blob (SQLite) into an id.ID.
type uuidDest id.ID

// ScanUUID implements pgtype.UUIDScanner.
func (u *uuidDest) ScanUUID(v pgtype.UUID) error {
	if !v.Valid {
		*u = uuidDest{}
		return nil
	}
	*u = v.Bytes
	return nil
}

// Scan implements sql.Scanner.
func (u *uuidDest) Scan(src any) error { return (*id.ID)(u).Scan(src) }

// jsonText returns an object as JSON text. For an object that is not JSON it returns the error,
// which every driver refuses as an argument.
func jsonText(v map[string]any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return string(text)
}

// object scans JSON text into a map.
type object map[string]any

// Scan implements sql.Scanner.
func (o *object) Scan(src any) error {
	var text []byte
	switch v := src.(type) {
	case string:
		text = []byte(v)
	case []byte:
		text = v
	default:
		return fmt.Errorf("db: an object is stored as %T, want JSON text", src)
	}
	*o = nil // json.Unmarshal would add to what is there
	return json.Unmarshal(text, (*map[string]any)(o))
}
