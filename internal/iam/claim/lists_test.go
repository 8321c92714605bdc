package claim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
)

// A list of over 200, or one that would be too large, is at userinfo, and a token says so (Core
// §5.6.2).
func TestLongListsAreDistributed(t *testing.T) {
	const source = "https://id.example.com/oauth2/userinfo"
	about := func(n int, name string) *About {
		a := &About{app: &application.Application{}}
		for i := range n {
			a.held = append(a.held, holding{name: fmt.Sprint(name, i)})
		}
		for p := range places {
			a.wants[p] = map[string]bool{claimGroups: true}
		}
		return a
	}
	distributed := map[string]any{"_claim_names": map[string]string{"groups": "userinfo"},
		"_claim_sources": map[string]any{"userinfo": map[string]string{"endpoint": source}}}
	for name, c := range map[string]struct {
		about *About
		fits  bool
	}{
		"200": {about(200, "g"), true}, "201": {about(201, "g"), false}, "none": {about(0, ""), true},
		"100 long names": {about(100, strings.Repeat("ä", 120)), false},
	} {
		for _, p := range []Place{IDToken, AccessToken} {
			got := c.about.Claims(p, source)
			if c.fits {
				list, _ := got["groups"].([]string)
				if list == nil || len(list) != len(c.about.held) || len(got) != 1 {
					t.Errorf("%s: %v", name, got)
				}
			} else if diff := cmp.Diff(distributed, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if list := c.about.Claims(Userinfo, "")["groups"].([]string); len(list) != len(c.about.held) {
			t.Errorf("%s: userinfo has %d", name, len(list))
		}
	}
}
