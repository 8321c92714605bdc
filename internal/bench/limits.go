package bench

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

// The physical limits are measured by this same test binary, started again as a process of its own
// with one core. So its CPU time is read in the same way, and it contains nothing else of the test.

const (
	limitEnv  = "GATEHOUSE_BENCH_LIMIT"
	answerEnv = "GATEHOUSE_BENCH_ANSWER"
)

// recorded is an answer of the server that the bare handler repeats byte for byte.
type recorded struct {
	Status int
	Header http.Header
	Body   []byte
}

// init turns this process into a limit if it was started as one.
func init() {
	limit := os.Getenv(limitEnv)
	if limit == "" {
		return
	}
	name, argument, _ := strings.Cut(limit, ":")
	var err error
	switch name {
	case "bare":
		err = serveBare(os.Getenv(answerEnv))
	case "evaluator":
		err = serveEvaluator(os.Getenv(answerEnv))
	case "es256":
		err = repeat(argument, signer())
	case "rs256":
		err = repeat(argument, rsaSigner())
	case "read":
		n := int64(0)
		err = repeat(argument, bareStatement(os.Getenv(answerEnv), "SELECT value FROM bench_bare WHERE id = $1",
			func() int64 { n--; return n%1000 - 1 }))
	case "commit":
		n := int64(-1)
		err = repeat(argument, bareStatement(os.Getenv(answerEnv), "INSERT INTO bench_bare VALUES ($1, 'value')",
			func() int64 { n++; return n }))
	case "argon2id":
		err = repeat(argument, hasher(os.Getenv(answerEnv)))
	default:
		err = fmt.Errorf("unknown limit %q", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveBare answers every request as recorded in the file, with net/http's defaults.
func serveBare(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var answer recorded
	if err := json.Unmarshal(b, &answer); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		for name, values := range answer.Header {
			header[name] = values
		}
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body)
	}))
}

func signer() func() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	digest := sha256.Sum256([]byte("payload"))
	return func() error {
		if err != nil {
			return err
		}
		_, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		return err
	}
}

// rsaSigner is signer for RS256 with a key of 2048 bits, the default of ID tokens.
func rsaSigner() func() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	digest := sha256.Sum256([]byte("payload"))
	return func() error {
		if err != nil {
			return err
		}
		_, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		return err
	}
}

// hasher returns a function that computes argon2id hashes with the parameters of a PHC string
// ($argon2id$v=19$m=…,t=…,p=…$salt$hash).
func hasher(phc string) func() error {
	var memory, passes uint32
	var lanes uint8
	parts := strings.Split(phc, "$")
	var err error
	if len(parts) < 4 {
		err = fmt.Errorf("not a PHC string: %q", phc)
	} else {
		_, err = fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes)
	}
	return func() error {
		if err != nil {
			return err
		}
		argon2.IDKey([]byte("a password of usual length"), []byte("0123456789abcdef"), passes, memory, lanes, 32)
		return nil
	}
}

// repeat calls fn n times and prints this process's CPU nanoseconds for one call.
func repeat(n string, fn func() error) error {
	times, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	var before, after syscall.Rusage
	if err := fn(); err != nil {
		return err
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return err
	}
	for range times {
		if err := fn(); err != nil {
			return err
		}
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		return err
	}
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	fmt.Println(spent / int64(times))
	return nil
}

func limitCommand(ctx context.Context, limit, answer string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", limitEnv+"="+limit, answerEnv+"="+answer)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// costOf returns the CPU time of one call of a limit, averaged over times calls.
func costOf(ctx context.Context, limit string, times int, argument string) (time.Duration, error) {
	cmd, err := limitCommand(ctx, limit+":"+strconv.Itoa(times), argument)
	if err != nil {
		return 0, err
	}
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", limit, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Duration(n), err
}

// bare starts the bare handler with a recorded answer and returns its address and process.
func bare(t testing.TB, answer recorded) (string, int, error) {
	// net/http sets these itself, for both.
	for _, name := range []string{"Date", "Content-Length", "Connection"} {
		answer.Header.Del(name)
	}
	encoded, err := json.Marshal(answer)
	if err != nil {
		return "", 0, err
	}
	file := t.TempDir() + "/answer.json"
	if err := os.WriteFile(file, encoded, 0o600); err != nil {
		return "", 0, err
	}
	return startLimit(t, "bare", file)
}

// startLimit starts a limit that serves, and returns its address and process.
func startLimit(t testing.TB, limit, argument string) (string, int, error) {
	cmd, err := limitCommand(t.Context(), limit, argument)
	if err != nil {
		return "", 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", 0, errors.Join(fmt.Errorf("the limit %s did not start", limit), err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid, nil
}
