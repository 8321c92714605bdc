# Everything a developer types. `make` alone says what there is.
#
#   make run      the server and a sample application, on SQLite, with demo tenants: nothing else needed
#   make dev      the same server, rebuilt and restarted when a source file changes
#   make test     every test: both databases, a real browser, clients nobody here wrote
#   make check    what CI runs: format, vet, lint, generated files, go.mod, then make test with the race detector
#   make bench    drives the built binary and prints the tables of docs/benchmarks.md; BENCH=TestDecisions for those of decisions
#   make generate writes the generated files again
#   make fuzz     every fuzz target for FUZZTIME (10s) each

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO      ?= go
# Packages tested at once. Each may hold a Chromium, a Postgres session and a server, so it follows the cores, not more.
PARALLEL ?= $(shell nproc 2>/dev/null || echo 2)
# Flags of the run of the tests; make check adds -race.
TESTFLAGS ?=
FUZZTIME ?= 10s
PACKAGES ?= ./...
# What make bench measures: ^TestMeasure$ the provider, ^TestDecisions$ decisions beside a real Cerbos server.
BENCH ?= ^(TestMeasure|TestDecisions)$$

NODE_READY := e2e/node_modules/.package-lock.json

.PHONY: help
help:
	@sed -n 's/^#   //p' $(MAKEFILE_LIST)

# ---- running ------------------------------------------------------------------------------------------------------

.PHONY: build
build: bin/gatehouse bin/webapp

.PHONY: bin/gatehouse bin/webapp
bin/gatehouse:
	@$(GO) build -o $@ ./cmd/gatehouse
bin/webapp:
	@$(GO) build -o $@ ./examples/webapp

# The real Cerbos that tests and benchmarks compare with: Cerbos' own release, which npm ci has brought where it is for this
# machine; else built from a module of its own, as they build it, which takes minutes the first time.
CERBOS := github.com/cerbos/cerbos
CERBOS_RELEASE := e2e/node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64
.PHONY: bin/cerbos
bin/cerbos:
	@if [ -e $(CERBOS_RELEASE) ]; then mkdir -p bin && cp -u --remove-destination $(CERBOS_RELEASE) $@; else \
	  cd e2e/cerbos && CGO_ENABLED=0 $(GO) build -ldflags "-s -w -X $(CERBOS)/internal/util.Version=$$($(GO) list -m -f '{{slice .Version 1}}' $(CERBOS))" -o ../../$@ $(CERBOS)/cmd/cerbos; fi

.PHONY: run
run: build
	@exec ./scripts/run

.PHONY: dev
dev:
	@exec ./scripts/dev

# ---- proving ------------------------------------------------------------------------------------------------------

.PHONY: test
test: $(NODE_READY) bin/cerbos
	$(GO) test -vet=off -p $(PARALLEL) -timeout 15m $(TESTFLAGS) $(PACKAGES)

# modernc.org/sqlite is C in Go and keeps its pointers in integers; -race also turns on the checks of each such conversion (checkptr),
# which took a quarter of the tests' time. Races are looked for there too, and our own pointers are checked.
RACE := -race -gcflags=modernc.org/...=-d=checkptr=0

# In this order: what fails fast first, and the tests last, so that a log ends in what they said.
.PHONY: check
check: format vet lint tidy generated bin/sandbox
	@GATEHOUSE_TEST_SANDBOX=$(CURDIR)/bin/sandbox $(MAKE) test TESTFLAGS="$(RACE) $(TESTFLAGS)"

# The server without the race detector, which tests with it run as the policies' sandbox. README's tests write bin/gatehouse.
.PHONY: bin/sandbox
bin/sandbox:
	@$(GO) build -o $@ ./cmd/gatehouse

.PHONY: format
format:
	@files=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); \
	if [ -n "$$files" ]; then echo "gofmt -w these:"; echo "$$files"; exit 1; fi

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

.PHONY: generate
generate:
	$(GO) generate $(PACKAGES)

# Generates again and fails when that changed anything; works in a tree with changes of one's own too.
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

# ---- parts --------------------------------------------------------------------------------------------------------

$(NODE_READY): e2e/package.json e2e/package-lock.json
	@command -v npm >/dev/null || { echo "The tests drive a browser and OpenID clients from npm: install Node 20 or newer with npm (Debian: apt-get install nodejs npm)."; exit 1; }
	cd e2e && npm ci
	@touch $@

.PHONY: clean
clean:
	rm -rf bin tmp e2e/node_modules
