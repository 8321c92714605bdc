package decision_test

import (
	"syscall"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// BenchmarkRecord measures the CPU of this process for one decision, queued and stored on Postgres.
// The database's own CPU is not included.
func BenchmarkRecord(b *testing.B) {
	for name, docs := range map[string][]string{"single": {"d1"}, "batch50": make([]string, 50)} {
		for i := range docs {
			docs[i] = "doc-" + string(rune('a'+i%26)) + "-" + string(rune('a'+i/26))
		}
		b.Run(name, func(b *testing.B) {
			d := testkit.Open(b, testkit.Postgres(b))
			acme := d.Tenant(b, "acme")
			r := recorder(b, d)
			all := make([]decision.Decision, 200)
			for i := range all {
				all[i] = asked(b, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, docs...)
			}
			at := d.Clock.Now()
			cpu := func() time.Duration {
				var u syscall.Rusage
				_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
				return time.Duration(u.Utime.Nano() + u.Stime.Nano())
			}
			before := cpu()
			for i := 0; b.Loop(); i++ {
				x := all[i%len(all)]
				x.ID, x.Size = id.At(at), 220*len(docs)
				at = at.Add(time.Microsecond)
				r.Record(acme, x)
				if i%800 == 799 { // what comes in 40 ms at 20,000 a second
					written(b, r, int64(i+1))
				}
			}
			r.Close()
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/decision")
			if r.Dropped() > 0 {
				b.Errorf("%d lost", r.Dropped())
			}
		})
	}
}
