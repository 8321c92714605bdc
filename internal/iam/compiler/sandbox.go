package compiler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// A child process reads, compiles and tests what tenants write. A kilobyte of YAML can expand to
// gigabytes, and so can a line of CEL. Go cannot stop either from within: a stack overflow or a
// full heap ends the process. So the process that serves must not run them. The child is this
// binary again, chosen by an environment variable. It inherits nothing else, and opens nothing.
const (
	sandboxEnv     = "GATEHOUSE_POLICY_SANDBOX"
	sandboxMemory  = 512 << 20 // bytes: heap, stacks and everything else
	sandboxTime    = 20 * time.Second
	sandboxTasks   = 2 // at once, in this process; more wait
	sandboxOutput  = 64 << 20
	sandboxStack   = 64 << 20 // bytes of one goroutine's stack
	exitMemory     = 3
	exitTime       = 4
	watchEvery     = 5 * time.Millisecond
	crashOfStack   = "stack overflow"
	crashOfNothing = "The policies could not be read: the compiler gave up on them."
)

// task is what the sandbox shall do.
type task struct {
	Do       string // compile, test, explain or compare
	Files    Files
	Old      Files // of compare
	Settings engine.Settings
	Input    []byte // of explain: an enginev1.CheckInput
}

// report is the sandbox's answer. At most one field is set.
type report struct {
	Problems    Problems
	Table       []byte
	Results     *Results
	Explanation *Explanation
	Changes     []PolicyChange
	Fault       string // the fault is ours, not that of the files
}

var sandboxSlots = make(chan struct{}, sandboxTasks)

// errNoSandbox reports that this machine does not let us start a process.
var errNoSandbox = fault.New(fault.Unavailable, "policy.no_compiler", "The compiler of policies could not be "+
	"started. Try again; if it stays, the server must be permitted to start its own binary.")

// sandboxed runs a task in a child process. An error is Problems of the files, or a fault of ours.
func sandboxed(ctx context.Context, t task) (report, error) {
	select {
	case sandboxSlots <- struct{}{}:
		defer func() { <-sandboxSlots }()
	case <-ctx.Done():
		return report{}, ctx.Err()
	}
	question, err := json.Marshal(t)
	if err != nil {
		return report{}, fmt.Errorf("policy sandbox: %w", err)
	}
	self, err := sandboxProgram()
	if err != nil {
		return report{}, errNoSandbox.Because(err)
	}
	bounded, cancel := context.WithTimeout(ctx, sandboxTime+5*time.Second) // it ends itself before that
	defer cancel()
	answer, last := &output{limit: sandboxOutput}, &output{limit: 64 << 10}
	cmd := exec.CommandContext(bounded, self)
	cmd.Env = []string{sandboxEnv + "=1", "CERBOS_RULE_TABLE_GC_PERCENT=0"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(question), answer, last
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return report{}, ctx.Err()
	}
	if err != nil {
		return report{}, afterwards(err, last.String())
	}
	var r report
	if err := json.Unmarshal(answer.Bytes(), &r); err != nil {
		return report{}, fmt.Errorf("policy sandbox: %w", err)
	}
	if len(r.Problems) > 0 {
		return report{}, r.Problems
	}
	if r.Fault != "" {
		return report{}, fmt.Errorf("policy sandbox: %s", r.Fault)
	}
	return r, nil
}

// afterwards returns why the sandbox ended without an answer: Problems if the files are to blame.
func afterwards(err error, last string) error {
	ended, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case !ok && !errors.Is(err, exec.ErrWaitDelay):
		return errNoSandbox.Because(err)
	case ok && ended.ExitCode() == exitMemory:
		return Problems{{Message: fmt.Sprintf("The policies need more than %d MB of memory to be compiled and "+
			"tested.", sandboxMemory>>20)}}
	case ok && ended.ExitCode() == exitTime, !ok:
		return Problems{{Message: fmt.Sprintf("The policies take longer than %d seconds to be compiled and tested.",
			int(sandboxTime.Seconds()))}}
	case strings.Contains(last, crashOfStack):
		return Problems{{Message: "The policies are nested too deeply."}}
	}
	return Problems{{Message: crashOfNothing}}
}

// output collects what is written to it, and refuses more than limit bytes.
type output struct {
	bytes.Buffer
	limit int
}

func (b *output) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, io.ErrShortWrite
	}
	return b.Buffer.Write(p)
}

// init turns the process into a sandbox, before its main function can do anything else.
func init() {
	if os.Getenv(sandboxEnv) == "" {
		return
	}
	debug.SetMaxStack(sandboxStack)
	lowerPriority()
	go watchMemory()
	time.AfterFunc(sandboxTime, func() { os.Exit(exitTime) })
	var t task
	r := report{Fault: "the task could not be read"}
	if json.NewDecoder(os.Stdin).Decode(&t) == nil {
		r = t.do()
	}
	if json.NewEncoder(os.Stdout).Encode(r) != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// watchMemory ends the process when it uses more than sandboxMemory.
func watchMemory() {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	for {
		metrics.Read(sample)
		if sample[0].Value.Uint64()-sample[1].Value.Uint64() > sandboxMemory {
			os.Exit(exitMemory)
		}
		time.Sleep(watchEvery)
	}
}

// do runs the task, inside the sandbox.
func (t task) do() (r report) {
	defer func() {
		if reason := recover(); reason != nil {
			r = report{Problems: Problems{{Message: crashOfNothing}}}
		}
	}()
	engine.Environment()
	ctx, err := context.Background(), error(nil)
	switch s := t.Settings; t.Do {
	case "compile":
		r.Table, err = compile(ctx, t.Files, s)
	case "test":
		r.Results, err = runSuites(ctx, t.Files)
	case "explain":
		r.Explanation, err = explain(ctx, t.Files, s, t.Input)
	case "compare":
		r.Changes = comparePolicies(t.Old, t.Files)
	default:
		err = fmt.Errorf("no task %q", t.Do)
	}
	if err == nil {
		return r
	}
	if wrong, ok := errors.AsType[Problems](err); ok {
		return report{Problems: wrong}
	}
	return report{Fault: err.Error()}
}
