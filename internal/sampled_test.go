package internal

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestWhatIsSampledRunsWhole compares the Makefile with the packages whose tests run only a sample
// under the race detector: make check runs those a second time, without it.
func TestWhatIsSampledRunsWhole(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(makefile), "\nSAMPLED := ")
	list, _, _ := strings.Cut(rest, "\n")
	var want []string
	for _, s := range sources(t) {
		if s.test && slices.Contains(imports(s.file), module+"internal/testkit/race") {
			want = append(want, "./"+s.dir)
		}
	}
	slices.Sort(want)
	if want = slices.Compact(want); len(want) == 0 || list != strings.Join(want, " ") {
		t.Errorf("SAMPLED in the Makefile is %q, want %q", list, strings.Join(want, " "))
	}
	for _, line := range []string{"$(ANSWERS) $(SAMPLED)\n", "\n\t@$(MAKE) -j2 answers analysis\n"} {
		if strings.Count(string(makefile), line) != 1 {
			t.Errorf("make check does not run SAMPLED without the race detector: the Makefile lacks %q", line)
		}
	}
}
