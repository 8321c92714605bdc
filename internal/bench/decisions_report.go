package bench

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/cerbos"
)

// write prints the tables as Markdown.
func (r *decisionReport) write(w io.Writer) {
	fmt.Fprintf(w, "%s\n\nBeside a Cerbos server %s in the same run: the same policies, the same client library, "+
		"one core each, %d requests under way at once, both with the log that they are shipped with, a line for "+
		"each request. Ours authenticates the caller, knows the tenant and records every decision. The bare "+
		"evaluator does nothing of this: Cerbos' evaluator behind grpc-go as it comes, in a process of its own.\n\n",
		machine(), cerbos.Version, r.Size.Workers)
	writeRows(w, r.Rows)
	fmt.Fprintf(w, "\nThe same on SQLite, where writing the records is this process' own work:\n\n")
	writeRows(w, r.Lite)
	fmt.Fprintf(w, "\n| | budget | value | ratio to budget | |\n|---|---|--:|--:|---|\n")
	limit := func(name, budget, value string, ratio float64) {
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %s |\n", name, budget, value, ratio, verdict(ratio <= 1))
	}
	first := r.First.microseconds()
	limit("first request of a tenant: revision read, loaded, conditions prepared, answered", "≤ 5 + 10 ms",
		cpu(first), first/15_000)
	limit(fmt.Sprintf("memory of an active tenant with ten policies (resident under load, %d tenants beside one)",
		r.Size.Active), "≤ 100 kB", fmt.Sprintf("%.0f kB", r.PerTenant/1000), r.PerTenant/100_000)
	if r.Size.Once > 0 {
		limit(fmt.Sprintf("memory after %d tenants were asked once", r.Size.Once), "≤ 2 GB", megabytes(r.OnceMemory),
			float64(r.OnceMemory)/2e9)
	}
	slices.Sort(r.PickUp)
	limit(fmt.Sprintf("a publish on one replica, answered by another (slowest of %d; fastest %s)", len(r.PickUp),
		ms(r.PickUp[0])), "≤ 2 s", ms(r.PickUp[len(r.PickUp)-1]), r.PickUp[len(r.PickUp)-1].Seconds()/2)
	limit("the policies' part of a management call, in process", "≤ 25 µs",
		fmt.Sprintf("%.1f µs", float64(r.Own.Nanoseconds())/1000), r.Own.Seconds()/25e-6)
	limit("start to ready with many tenants' policies, CPU", "as with one",
		fmt.Sprintf("%s, with one %s", ms(r.CPUMany), ms(r.CPUFew)), float64(r.CPUMany)/float64(r.CPUFew)/1.2)
	fmt.Fprintf(w, "\nA Cerbos server with one policy in a scope for each of %d tenants needs %.1f s of CPU (%.1f "+
		"s) until it is ready, and %s of memory.\n",
		r.Size.Active, r.CPUCerbos.Seconds(), r.StartCerbos.Seconds(), megabytes(r.CerbosMemory))
}

func writeRows(w io.Writer, rows []beside) {
	fmt.Fprintf(w, "| check | Gatehouse, CPU | Cerbos, CPU | ratio | budget | | requests/s | Cerbos | p50 | Cerbos "+
		"| bare evaluator, CPU |\n|---|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|\n")
	for _, b := range rows {
		budget, said := "", ""
		if b.Budget > 0 {
			budget, said = fmt.Sprintf("≤ %.1f ×", b.Budget), verdict(b.ratio() <= b.Budget)
		}
		bare := ""
		if b.Bare.Requests > 0 {
			bare = fmt.Sprintf("%s = %.2f ×", cpu(b.Bare.microseconds()), b.Bare.microseconds()/b.Theirs.microseconds())
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.2f × | %s | %s | %.0f | %.0f | %s | %s | %s |\n", b.Name,
			cpu(b.Ours.microseconds()), cpu(b.Theirs.microseconds()), b.ratio(), budget, said,
			b.Ours.perSecond(), b.Theirs.perSecond(), latency(b.Ours.P50), latency(b.Theirs.P50), bare)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", d.Seconds()*1000) }
