package resourceserver

import (
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Several APIs demand what the strictest of them does.
func TestDemandOf(t *testing.T) {
	plain, strong := &API{}, &API{Profile: Profile{ACR: TwoFactors}}
	hour, minute := &API{Profile: Profile{MaxAge: 3600}}, &API{Profile: Profile{MaxAge: 60}}
	for name, c := range map[string]struct {
		of   []*API
		acr  string
		age  time.Duration
		want bool
	}{
		"nothing":             {nil, "aal1", 24 * time.Hour, true},
		"the tenant":          {[]*API{nil}, "aal1", 24 * time.Hour, true},
		"an API":              {[]*API{plain}, "aal1", 24 * time.Hour, true},
		"one factor":          {[]*API{plain, strong}, "aal1", 0, false},
		"no class":            {[]*API{strong}, "", 0, false},
		"two factors":         {[]*API{strong, nil}, "aal2", 24 * time.Hour, true},
		"in time":             {[]*API{hour}, "aal1", time.Hour, true},
		"too late":            {[]*API{hour}, "aal2", time.Hour + 1, false},
		"too late for one":    {[]*API{hour, minute}, "aal2", 2 * time.Minute, false},
		"in the other order":  {[]*API{minute, hour}, "aal2", 2 * time.Minute, false},
		"in time, too weak":   {[]*API{hour, strong}, "aal1", time.Minute, false},
		"in time, and strong": {[]*API{minute, strong}, "aal2", time.Minute, true},
	} {
		if got := DemandOf(c.of...).Meets(c.acr, c.age); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for field, p := range map[string]Profile{"acr": {ACR: "aal1"}, "max_age_seconds": {MaxAge: 59}} {
		var wrong fault.Fields
		p.checkDemand(&wrong)
		if f := fault.As(wrong.Err("x")); f == nil || len(f.Fields) != 1 || f.Fields[0].Name != field {
			t.Errorf("%s: %v", field, f)
		}
	}
}
