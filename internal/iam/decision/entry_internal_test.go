package decision

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// storedRecords are the records whose bodies stand in testdata/bodies.hex. Their maps have one
// entry, because protobuf gives the entries of a map no order.
func storedRecords() map[string]Record {
	attr := func(name, value string) map[string]*structpb.Value {
		return map[string]*structpb.Value{name: structpb.NewStringValue(value)}
	}
	principal := &enginev1.Principal{Id: "ada", PolicyVersion: "default", Scope: "eu", Roles: []string{"employee"},
		Attr: attr("team", "red")}
	aux := &enginev1.AuxData{Jwt: attr("iss", "https://issuer.example")}
	input := func(document string) *enginev1.CheckInput {
		return &enginev1.CheckInput{RequestId: "r1", Principal: principal, AuxData: aux,
			Actions: []string{"read", "write"},
			Resource: &enginev1.Resource{Kind: "document", Id: document, PolicyVersion: "default",
				Attr: attr("owner", "zoe")}}
	}
	output := &enginev1.CheckOutput{EffectiveDerivedRoles: []string{"member"},
		Actions: map[string]*enginev1.CheckOutput_ActionEffect{
			"read": {Effect: effectv1.Effect_EFFECT_ALLOW, Policy: "resource.document.vdefault", Scope: "eu"},
		}}
	var user, home, via id.ID
	for i := range user {
		user[i], home[i], via[i] = byte(i), byte(i+16), byte(255-i)
	}
	return map[string]Record{
		"empty": {},
		"check": {
			Decision: Decision{Kind: Check, Mode: application.FromDirectory, Reason: "principal.suspended",
				Took:   1500 * time.Microsecond,
				Inputs: []*enginev1.CheckInput{input("d1"), input("d2")}, Outputs: []*enginev1.CheckOutput{output, {}}},
			Actor:     caller.Actor{Kind: caller.User, ID: user, Tenant: home, Via: via, Name: "ada@acme.example"},
			RequestID: "01jd-request",
			Redacted:  []Mark{{Input: -1, Path: "principal.attr.email"}, {Input: 200, Path: "r.a"}},
			Oversized: true,
		},
		"plan": {
			Decision: Decision{Kind: Plan,
				PlanInput: &enginev1.PlanResourcesInput{RequestId: "r2", Actions: []string{"read"},
					Principal: principal,
					Resource:  &enginev1.PlanResourcesInput_Resource{Kind: "document"}},
				PlanOutput: &enginev1.PlanResourcesOutput{
					Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED}}},
			Actor: caller.Actor{Kind: caller.Application, ID: via, Name: "not UTF-8: \xff"},
		},
		"admin": {Decision: Decision{Kind: Admin, Inputs: []*enginev1.CheckInput{{}, {Principal: principal}}}},
	}
}

// storedBodies reads testdata/bodies.hex: a name and the body in hexadecimal on each line. The
// bodies are from the release that wrote protobuf by hand. Never write them again: tenants have
// records like them.
func storedBodies(t *testing.T) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/bodies.hex")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		if out[name], err = hex.DecodeString(digits); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestBodiesOfEarlierReleasesDecode(t *testing.T) {
	bodies := storedBodies(t)
	for name, want := range storedRecords() {
		t.Run(name, func(t *testing.T) {
			body, ok := bodies[name]
			if !ok {
				t.Fatal("testdata/bodies.hex has no such body")
			}
			var got Record
			if err := got.decode(body); err != nil {
				t.Fatal(err)
			}
			if name == "admin" { // inputs without a principal have the first one's
				want.Inputs[0].Principal = nil
			}
			if diff := cmp.Diff(want, got, protocmp.Transform(), cmp.AllowUnexported(Record{})); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
		})
	}
}

// An earlier release reads what this one writes, as long as both run on one database.
func TestBodiesAreThoseOfEarlierReleases(t *testing.T) {
	bodies := storedBodies(t)
	for name, r := range storedRecords() {
		t.Run(name, func(t *testing.T) {
			got, err := r.encode([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte("before"), bodies[name]...); !bytes.Equal(got, want) {
				t.Errorf("got %x\nwant %x", got, want)
			}
		})
	}
}

// A later release may add fields; a body that is not protobuf is an error.
func TestDecodingSkipsFieldsOfLaterReleases(t *testing.T) {
	body := storedBodies(t)["check"]
	later := append(bytes.Clone(body), 0xfa, 0x3e, 2, 'h', 'i', 0x80, 0x3f, 7) // field 1007, text; 1008, number
	var want, got Record
	if err := want.decode(body); err != nil {
		t.Fatal(err)
	}
	if err := got.decode(later); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform(), cmp.AllowUnexported(Record{})); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
	var kind Record
	if err := kind.decode([]byte{0x08, 99}); err != nil || kind.Kind != "" {
		t.Errorf("a kind of a later release: %q %v", kind.Kind, err)
	}
	for _, broken := range [][]byte{body[:len(body)-1], {0x32, 3, 1, 2, 3}, {0x7a, 0}, {0x5a, 2, 0xff, 0xff}} {
		if err := new(Record).decode(broken); err == nil {
			t.Errorf("%x decodes", broken)
		}
	}
}

// BenchmarkBody encodes into one buffer, as the recorder does.
func BenchmarkBody(b *testing.B) {
	single := storedRecords()["check"]
	single.Inputs, single.Outputs, single.Redacted = single.Inputs[:1:1], single.Outputs[:1:1], nil
	batch := single
	for i := range 49 {
		first := single.Inputs[0]
		in := &enginev1.CheckInput{RequestId: "r1", Principal: first.Principal, AuxData: first.AuxData,
			Actions:  first.Actions,
			Resource: &enginev1.Resource{Kind: "document", Id: fmt.Sprint("d", i), Attr: first.Resource.Attr}}
		batch.Inputs, batch.Outputs = append(batch.Inputs, in), append(batch.Outputs, single.Outputs[0])
	}
	for _, c := range []struct {
		name string
		r    Record
	}{{"single", single}, {"batch50", batch}} {
		body, err := c.r.encode(nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("encode/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, len(body))
			for b.Loop() {
				if _, err := c.r.encode(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("decode/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := new(Record).decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
