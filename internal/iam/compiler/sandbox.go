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
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
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
	Do       string // compile, test, explain, compare or locate
	Files    Files
	Old      Files // of compare
	Settings engine.Settings
	Base     bool   // the files are the base policies
	Table    []byte // of explain
	Input    []byte // of explain: an enginev1.CheckInput
}

// report is the sandbox's answer. A test sets two fields, every other task one.
type report struct {
	Problems    Problems
	Compiled    Compiled
	Results     *Results
	Explanation *Explanation
	Changes     []PolicyChange
	Fault       string // the fault is ours, not that of the files
}

// errNoSandbox reports that this machine does not let us start a process.
var errNoSandbox = fault.New(fault.Unavailable, "policy.no_compiler", "The compiler of policies could not be "+
	"started. Try again; if it stays, the server must be permitted to start its own binary.")

// sandboxed runs a task in a child process. An error is Problems of the files, or a fault of ours.
func sandboxed(ctx context.Context, t task) (report, error) {
	leave, err := sandboxes.enter(ctx, caller.TenantOf(ctx))
	if err != nil {
		return report{}, err
	}
	defer leave()
	r, err := runChild(ctx, t)
	died, ok := errors.AsType[*crash](err)
	if !ok {
		return r, err
	}
	if died.problem.File == "" && len(t.Files) > 0 {
		// The child died between two files. Another one reads file by file, and dies at the same.
		_, err = runChild(ctx, task{Do: "locate", Files: t.Files})
		if again, ok := errors.AsType[*crash](err); ok {
			died.problem.File = again.problem.File
		}
	}
	web.NoteError(ctx, died)
	return report{}, Problems{died.problem}
}

// runChild runs a task in a child process.
func runChild(ctx context.Context, t task) (report, error) {
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
	answer, last := &output{limit: sandboxOutput}, &lastWords{}
	cmd := exec.CommandContext(bounded, self)
	cmd.Env = []string{sandboxEnv + "=1", "CERBOS_RULE_TABLE_GC_PERCENT=0"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(question), answer, last
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return report{}, ctx.Err()
	}
	if err != nil {
		return report{}, afterwards(err, last)
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

// crash reports that the child process died of the files. The problem is for the author, the stack
// for the log.
type crash struct {
	problem Problem
	stack   string // the beginning of what the child wrote
}

// Error implements error.
func (c *crash) Error() string {
	return fmt.Sprintf("the compiler of policies died at the file %q: %s", c.problem.File, c.stack)
}

// afterwards returns why the sandbox ended without an answer: a crash if the files are to blame.
func afterwards(err error, last *lastWords) error {
	ended, ok := errors.AsType[*exec.ExitError](err)
	why := crashOfNothing
	switch {
	case !ok && !errors.Is(err, exec.ErrWaitDelay):
		return errNoSandbox.Because(err)
	case ok && ended.ExitCode() == exitMemory:
		why = fmt.Sprintf("The policies need more than %d MB of memory to be compiled and tested.", sandboxMemory>>20)
	case ok && ended.ExitCode() == exitTime, !ok:
		return Problems{{File: last.file, Message: fmt.Sprintf("The policies take longer than %d seconds to be "+
			"compiled and tested.", int(sandboxTime.Seconds()))}}
	case strings.Contains(string(last.text), crashOfStack):
		why = "The policies are nested too deeply."
	}
	return &crash{Problem{File: last.file, Message: why}, string(last.text)}
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

// markPrefix begins a line by which the child says which file it reads from now on.
const markPrefix = "reading "

// mark tells the parent which file is read from now on; "" for none. It does nothing outside of the
// sandbox.
func mark(file string) {
	if inSandbox {
		fmt.Fprintf(os.Stderr, "%s%q\n", markPrefix, file)
	}
}

// lastWords keeps the file that the child marked last, and the beginning of all else.
type lastWords struct {
	file string
	text []byte
	line []byte
}

// maxWords bounds what is kept of a child's last words, in bytes; maxWordLine one line of it.
const (
	maxWords    = 16 << 10
	maxWordLine = 4 << 10
)

// Write implements io.Writer.
func (w *lastWords) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if w.line = append(w.line, line...); len(w.line) < maxWordLine && w.line[len(w.line)-1] != '\n' {
			continue
		}
		if file, ok := strings.CutPrefix(strings.TrimSuffix(string(w.line), "\n"), markPrefix); ok {
			if name, err := strconv.Unquote(file); err == nil {
				w.file = name
			}
		} else if len(w.text) < maxWords { // the reason and the stack that crashed come first
			w.text = append(w.text, w.line...)
		}
		w.line = nil
	}
	return len(p), nil
}

// inSandbox reports whether this process is a child that runs one task.
var inSandbox = os.Getenv(sandboxEnv) != ""

// init turns the process into a sandbox, before its main function can do anything else.
func init() {
	if !inSandbox {
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

// do runs the task, inside the sandbox. A panic ends the process: the parent finds its reason.
func (t task) do() report {
	engine.Environment()
	var r report
	ctx, err := context.Background(), error(nil)
	switch s := t.Settings; t.Do {
	case "compile":
		r.Compiled, err = compile(ctx, t.Files, s, t.Base)
	case "test":
		if r.Compiled, err = compile(ctx, t.Files, s, t.Base); err == nil {
			r.Results, err = runSuites(ctx, t.Files, r.Compiled.Table, s)
		}
	case "explain":
		r.Explanation, err = explain(ctx, t.Table, s, t.Input)
	case "compare":
		r.Changes = comparePolicies(t.Old, t.Files)
	case "locate":
		locate(t.Files)
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

// locate reads every policy on its own, and compiles each text in it as a condition. If the files
// end the process, the mark is at the one that does.
func locate(files Files) {
	for _, p := range readPolicies(files) {
		mark(p.file)
		_ = protorange.Range(p.policy.ProtoReflect(), func(v protopath.Values) error {
			if text, ok := v.Index(-1).Value.Interface().(string); ok {
				_, _ = engine.Environment().Compile(text)
			}
			return nil
		})
	}
	mark("")
}
