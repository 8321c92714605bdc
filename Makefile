# Everything a developer types. `make` alone says what there is.
#
#   make run       starts the server and a sample application, on SQLite, with demo tenants
#   make dev       starts the server, and builds and restarts it when a source file changes
#   make console   builds the admin console, which run, dev, test and check do too
#   make test      runs every test: both databases, a real browser, foreign clients
#   make test-fast runs the tests that need no other program, on SQLite only, in under 90 seconds
#   make check     runs what CI runs: format, lint, generated files, tests with the race detector
#   make bench     measures the built binary (BENCH=TestMeasure: the provider only)
#   make generate  writes the generated files again
#   make fuzz      runs every fuzz target for FUZZTIME (10s) each
#   make modules   installs the foreign clients of e2e, from npm and PyPI
#
# run, test, check and modules install what the machine lacks, or print the command for it: see
# scripts/setup.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO      ?= go
# What is compiled does not name the directory. So another clone finds it in the compiler's cache,
# and so does the copy of the tree that a test changes.
export GOFLAGS := $(strip $(filter-out -trimpath,$(shell $(GO) env GOFLAGS 2>/dev/null)) -trimpath)
# Packages tested at once. Each may run a Chromium, a Postgres session and a server, so there is one
# per core.
PARALLEL ?= $(shell nproc 2>/dev/null || echo 2)
# Flags of the compiler and of the tests. make check adds the race detector to the former.
BUILDFLAGS ?=
TESTFLAGS ?=
FUZZTIME ?= 10s
# The longest tests come first, so that no core is left waiting for the last of them.
PACKAGES ?= ./internal/e2e ./internal/parity ./internal/iam/engine ./internal/doors/pages ./internal/app \
  ./internal/doors/oidc ./internal/kit/db ./...
# The tests' binaries carry no tables for a debugger: linking takes a quarter less time without.
LINKFLAGS := -ldflags=-w
# A test's process lives for seconds: a quarter of the collections saves 8 % of its CPU. The limit
# keeps the large ones small. Servers that tests start decide for themselves, as in production.
COLLECT := GOGC=400 GOMEMLIMIT=2GiB
# What make bench measures: ^TestMeasure$ the provider, ^TestDecisions$ decisions beside a real
# Cerbos server, ^TestLists$ lists of millions.
BENCH ?= ^(TestMeasure|TestDecisions|TestLists)$$
# Ubuntu's tests use the Chromium that scripts/setup fetches.
ifneq (,$(wildcard bin/chromium))
export GATEHOUSE_TEST_CHROMIUM ?= $(CURDIR)/bin/chromium
endif

.PHONY: help
help:
	@sed -n 's/^#   //p' $(MAKEFILE_LIST)

# ---- running ------------------------------------------------------------------------------------

.PHONY: build bin/gatehouse bin/webapp
build:
	@scripts/build -o bin/ ./cmd/gatehouse ./examples/webapp
bin/gatehouse:
	@scripts/build -o $@ ./cmd/gatehouse
bin/webapp:
	@scripts/build -o $@ ./examples/webapp

# The Cerbos server that tests and benchmarks compare with. It is Cerbos' own release, which make
# modules fetches for this machine. Otherwise it is built from a module of its own, which takes
# minutes the first time.
CERBOS := github.com/cerbos/cerbos
CERBOS_RELEASE := e2e/node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64
.PHONY: bin/cerbos
bin/cerbos:
	@if [ -e $(CERBOS_RELEASE) ]; then mkdir -p bin && cp -u --remove-destination $(CERBOS_RELEASE) $@; else \
	  cd e2e/cerbos && version=$$($(GO) list -m -f '{{slice .Version 1}}' $(CERBOS)) && \
	  CGO_ENABLED=0 $(GO) build -ldflags "-s -w -X $(CERBOS)/internal/util.Version=$$version" -o ../../$@ $(CERBOS)/cmd/cerbos; fi

.PHONY: run
run:
	@scripts/setup run
	@exec scripts/run

# The admin console is built into the folder that the server's binary embeds. Without Node, make run
# goes on without it.
.PHONY: console
console:
	@scripts/console

.PHONY: dev
dev:
	@scripts/setup run
	@exec scripts/dev

# ---- proving ------------------------------------------------------------------------------------

.PHONY: modules
modules:
	@scripts/setup modules

.PHONY: test
test:
	@scripts/setup test
	@scripts/console
	@$(MAKE) bin/cerbos
	@scripts/build $(BUILDFLAGS) ./...
	$(COLLECT) $(GO) test -vet=off -p $(PARALLEL) -timeout 15m $(LINKFLAGS) $(BUILDFLAGS) $(TESTFLAGS) $(PACKAGES)

# The inner loop: SQLite only; no browser, no Node, no Cerbos server and no built binary. What it
# leaves out is skipped by testkit.SkipFast; make test and make check never skip.
.PHONY: test-fast
test-fast:
	@scripts/build $(BUILDFLAGS) $(PACKAGES)
	$(GO) test -short -vet=off -p $(PARALLEL) -timeout 5m $(LINKFLAGS) $(TESTFLAGS) $(PACKAGES)

# modernc.org/sqlite is C in Go and keeps its pointers in integers. -race also checks each such
# conversion (checkptr), which took a quarter of the tests' time. The race detector still covers it,
# and our own pointers are checked.
RACE := -race -gcflags=modernc.org/...=-d=checkptr=0

# Tests without the race detector. Those of parity and bench compare answers of running servers: it
# would watch the test's own process only, for twice the time. Those of internal read our sources in
# one goroutine, for five times the time.
ANSWERS := ./internal/parity ./internal/bench ./internal
# Tests that compare many answers of one goroutine: a sample of them with the race detector, and all
# of them without. Their packages import internal/testkit/race.
SAMPLED := ./internal/iam/engine

# What fails fast comes first, and the tests with the race detector last, so that a log ends in what
# they said. The answers are compared while the analysis compiles: both leave a core idle at times.
.PHONY: check
check:
	@scripts/setup check
	@$(MAKE) -j2 compiled console-check
	@$(MAKE) format subjects generated bin/plain bin/cerbos
	@$(MAKE) -j2 answers analysis
	@GATEHOUSE_TEST_PLAIN=$(CURDIR)/bin/plain $(MAKE) test BUILDFLAGS="$(RACE) $(BUILDFLAGS)" \
	  PACKAGES="$(filter-out $(shell $(GO) list $(ANSWERS)),$(shell $(GO) list $(PACKAGES)))"

.PHONY: compiled console-check
compiled:
	@scripts/build ./...
console-check:
	@scripts/console check

.PHONY: answers
answers:
	@GATEHOUSE_TEST_PLAIN=$(CURDIR)/bin/plain $(COLLECT) $(GO) test -vet=off -p $(PARALLEL) -timeout 15m $(LINKFLAGS) $(TESTFLAGS) $(ANSWERS) $(SAMPLED)

# One after the other: each of them uses every core.
.PHONY: analysis
analysis:
	@$(MAKE) vet
	@$(MAKE) lint
	@$(MAKE) tidy
	@scripts/build $(RACE) $(BUILDFLAGS) ./...

# The server without the race detector. Tests with the detector run it as the policies' sandbox, and
# as a server that answers one request after the other. README's tests write bin/gatehouse.
.PHONY: bin/plain
bin/plain:
	@$(GO) build $(LINKFLAGS) -o $@ ./cmd/gatehouse

.PHONY: format
format:
	@files=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); \
	if [ -n "$$files" ]; then echo "gofmt -w these:"; echo "$$files"; exit 1; fi

.PHONY: subjects
subjects:
	@scripts/subjects

.PHONY: vet
vet:
	$(GO) vet $(PACKAGES)

.PHONY: lint
lint:
	$(GO) tool staticcheck $(PACKAGES)

.PHONY: tidy
tidy:
	$(GO) mod tidy -diff
	cd e2e/cerbos && $(GO) mod tidy -diff
	cd e2e/go && $(GO) mod tidy -diff

.PHONY: generate
generate:
	$(GO) generate $(PACKAGES)

# Generates again and fails when that changed a file. It works in a tree with uncommitted changes
# too.
.PHONY: generated
generated:
	@state() { git status --porcelain; git diff; }; \
	before=$$(state | git hash-object --stdin); $(GO) generate $(PACKAGES); after=$$(state | git hash-object --stdin); \
	if [ "$$before" != "$$after" ]; then \
	  echo "Generated files were out of date. They have been written again; commit them:"; git status --short; exit 1; fi

.PHONY: bench
bench: bin/cerbos
	@mkdir -p tmp
	$(GO) test -count=1 -timeout 90m -run '$(BENCH)' -v ./internal/bench -measure -output $(CURDIR)/tmp/benchmarks.md -decisions $(CURDIR)/tmp/decisions.md $(BENCHFLAGS)

.PHONY: fuzz
fuzz:
	@for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u); do \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$pkg/*_test.go | sed 's/^func //'); do \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; done; done

.PHONY: clean
clean:
	rm -rf bin tmp e2e/node_modules e2e/python/venv console/node_modules console/dist
	git clean -fdXq internal/doors/console/dist
