package web

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec is gRPC's codec "proto". For messages with generated code (vtprotobuf) it costs a third of
// reflection.
type codec struct{}

// message receives a call's message, its size, and why it could not be decoded. gRPC would report
// an error of the codec as an error of the server.
type message struct {
	to   any
	size int
	err  error
}

type generated interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
	UnmarshalVT([]byte) error
}

// maxGenerated is the largest message, in bytes, that generated code decodes. It has no limit on
// nesting, and a megabyte can have some hundred thousand levels. Reflection, which has a limit,
// decodes larger messages.
const maxGenerated = 32 << 10

// maxNesting is how many levels the values of a message may have.
const maxNesting = 400

// Name implements encoding.CodecV2.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(generated)
	if !ok {
		p, ok := v.(proto.Message)
		if !ok {
			return nil, errNoMessage
		}
		b, err := proto.Marshal(p)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
	size := m.SizeVT()
	if mem.IsBelowBufferPoolingThreshold(size) {
		b := make([]byte, size)
		_, err := m.MarshalToSizedBufferVT(b)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
	pool := mem.DefaultBufferPool()
	b := pool.Get(size)
	if _, err := m.MarshalToSizedBufferVT((*b)[:size]); err != nil {
		pool.Put(b)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(b, pool)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	in, ok := v.(*message)
	if !ok { // health and reflection
		return unmarshal(buf.ReadOnlyData(), v)
	}
	in.size, in.err = data.Len(), unmarshal(buf.ReadOnlyData(), in.to)
	return nil
}

func unmarshal(b []byte, v any) error {
	if m, ok := v.(generated); ok && len(b) <= maxGenerated {
		return m.UnmarshalVT(b)
	}
	m, ok := v.(proto.Message)
	if !ok {
		return errNoMessage
	}
	return proto.UnmarshalOptions{RecursionLimit: maxNesting}.Unmarshal(b, m)
}
