package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestStringIsNeverShown(t *testing.T) {
	const text = "hunter2-hunter2"
	s := String(text)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %v"} {
		if strings.Contains(verb, "%T") {
			continue
		}
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", struct{ P String }{s})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "password", s, "in", struct{ P String }{s})
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "password", s, "in", struct{ P String }{s})
	if err := json.NewEncoder(&out).Encode(map[string]any{"p": s, "q": &s}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, text) || strings.Contains(got, fmt.Sprintf("%x", text)) {
		t.Errorf("the text is shown:\n%s", got)
	}
	var in struct{ P String }
	if err := json.Unmarshal([]byte(`{"P":"hunter2-hunter2"}`), &in); err != nil || in.P.Reveal() != text {
		t.Errorf("read %v %v", in.P.Reveal(), err)
	}
}
