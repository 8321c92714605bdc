package pdp

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"
)

// A page token is a version, the limit of the first request, a digest of the search, and a
// position. It grants nothing: a forged one moves its reader within the results of that search.
const (
	tokenVersion = 1 // the first byte, so that the form can change
	digestSize   = 16
	tokenHead    = 1 + 2 + digestSize // bytes before the position
)

var (
	errToken = invalid("page.token is not valid. Send the next_token of the previous answer, unchanged, or omit it " +
		"to start again.")
	errTokenOf = invalid("page.token belongs to another search. Send it with the request that it answered, in which " +
		"only page.token has changed, or omit it to start again.")
)

// position reads the token and returns where the page starts, or "". If the request has no limit,
// that of the token applies, as in the specification's example.
func (q *search) position(a *requester, path string) (string, error) {
	if q.token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(q.token)
	if err != nil || len(raw) < tokenHead || raw[0] != tokenVersion {
		return "", errToken
	}
	limit := int(binary.BigEndian.Uint16(raw[1:])) - 1
	if q.limit < 0 {
		q.limit = limit
	}
	if digest := q.digest(a, path); limit != q.limit || !slices.Equal(raw[3:tokenHead], digest) {
		return "", errTokenOf
	}
	return string(raw[tokenHead:]), nil
}

// next returns the token of the page that starts after a position.
func (q *search) next(a *requester, path, after string) string {
	raw := binary.BigEndian.AppendUint16([]byte{tokenVersion}, uint16(q.limit+1))
	return base64.RawURLEncoding.EncodeToString(append(append(raw, q.digest(a, path)...), after...))
}

// digest identifies the search: the tenant, the path and everything in the request but its page.
func (q *search) digest(a *requester, path string) []byte {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(q.AccessEvaluationRequest)
	if err != nil { // text that is not UTF-8, which reading refuses
		panic("pdp: " + err.Error())
	}
	sum := sha256.Sum256(slices.Concat(a.caller.Tenant[:], []byte(path), text))
	return sum[:digestSize]
}
