package principal_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// BenchmarkResolve says what one principal costs this process (cpu-µs/op; the database is
// another) when many ask at once, of one tenant or of many.
func BenchmarkResolve(b *testing.B) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": testkit.SQLite,
		"postgres": func(t testing.TB) string { return testkit.Postgres(t) }} {
		for askers, tenants := range map[int]int{1: 1, 32: 1, 33: 100} {
			b.Run(name+"/"+map[int]string{1: "one at a time", 32: "32 at once", 33: "33 at once of 100 " +
				"tenants"}[askers], func(b *testing.B) {
				d := testkit.Open(b, dsn(b))
				r := principal.New(d.DB, tenant.NewVersions(d.DB), d.Clock)
				var callers []caller.Caller
				var users []id.ID
				for range tenants {
					c := d.Tenant(b, "t"+id.New().String())
					if err := d.Update(b.Context(), c, func(tx *db.Tx) error {
						u, err := user.Create(b.Context(), tx, user.Profile{Username: "ada",
							Attributes: map[string]any{"floor": 3}})
						users = append(users, u.ID)
						if err != nil {
							return err
						}
						return role.Assign(b.Context(), tx, all, role.OfUser(u.ID), role.Auditor, time.Time{})
					}); err != nil {
						b.Fatal(err)
					}
					callers = append(callers, c)
				}
				var n atomic.Int64
				b.SetParallelism(askers)
				b.ResetTimer()
				before := cpu()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						i := int(n.Add(1)) % tenants
						_, outcome, err := r.Resolve(b.Context(), callers[i],
							principal.Ask{Mode: application.FromDirectory,
								Asserted: &enginev1.Principal{Id: users[i].String()}})
						if err != nil || outcome != principal.Found {
							b.Error(outcome, err)
						}
					}
				})
				b.ReportMetric(float64(cpu()-before)/float64(time.Microsecond)/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
