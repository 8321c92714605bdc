// Package bench measures the real binary: a process of its own on one core (GOMAXPROCS=1), driven
// over loopback. Its CPU time and that of a Postgres server of this run come from /proc. Beside
// each number stand the physical limit, measured in the same run, and the budget.
//
//	make bench
//
// runs TestMeasure with -measure and prints the table of docs/benchmarks.md. An ordinary test run
// does the same with a handful of requests, to see that it works. It asserts nothing about time. To
// measure some rows alone, and shortly:
//
//	make bench BENCH=TestMeasure BENCHFLAGS="-only refresh -requests 2000 -repeats 1 -age 99"
package bench
