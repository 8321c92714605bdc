// Package bench measures the real binary: a process of its own on one core (GOMAXPROCS=1), driven
// over loopback. The CPU time comes from /proc. Beside each number stand the physical limit,
// measured in the same run, and the budget.
//
//	make bench
//
// runs TestMeasure with -measure and prints the table of docs/benchmarks.md. An ordinary test run
// does the same with a handful of requests, to see that it works. It asserts nothing about time. To
// measure one row alone:
//
//	make bench BENCHFLAGS="-only introspection"
//	make bench
//
// runs TestMeasure with -measure and prints the table of docs/benchmarks.md. An
// ordinary test run does the same with a handful of requests, to see that it works;
// it asserts nothing about time. Who works on one row measures that alone:
//
//	make bench BENCHFLAGS="-only introspection"
package bench
