# What one does with this project, one command each. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
# The image holds nothing but the operator: it is linked statically. An explicit target keeps the flag from the
# procedural macros, which cannot be.
TARGET ?= $(shell uname -m)-unknown-linux-gnu
# A static binary; its relocations are packed, which saves most of a megabyte.
STATIC := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BINARY := $(TARGET_DIR)/$(TARGET)/release/retryable-tasks
IMAGE_TAR := $(TARGET_DIR)/retryable-tasks-image.tar
LOCAL_IMAGE := docker.io/library/retryable-tasks:dev

KUBERNETES := tests/cluster/cluster
# kubectl and helm of the project's own cluster, before those of the machine
IN_CLUSTER := eval "$$($(KUBERNETES) env)" &&
SCRIPTS := .ci/run .ci/release .ci/plugin .ci/krew .ci/krew-check demo/run fuzz/run deploy/generate charts/check tests/cluster/cluster tests/cluster/self-test tests/e2e/run tests/e2e/page/prepare tests/prometheus/check tests/prometheus/tools tests/simulation/mutate $(wildcard tests/cluster/lib/*.sh)
# Most of an end-to-end test's time is waiting, so more of them run at a time than there are processors.
export E2E_THREADS ?= 8
# The number of the cluster for those that need one alone
export E2E_SECOND_CLUSTER ?= $(shell echo $$(( ($${CLUSTER_NUMBER:-0} + 5) % 10 )))
# Further arguments for the test programs, such as the name of one test
ARGS ?=
# Seen by the simulation
export SEED FIRST
# Each has a definition in crds/.
RESOURCES := retryabletasks taskqueues taskschedules
# Begins a step; `.ci/run` says how long each took.
STEP := @printf '\n==> %s\n'

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ A newcomer's two commands

.PHONY: demo
demo: ## build everything, start a real cluster, watch tasks being retried; CLUSTER=current uses your own cluster
	@CLUSTER="$(CLUSTER)" IMAGE="$(IMAGE)" demo/run

.PHONY: test
test: preflight unit python simulation cluster-test ## everything: pure tests, simulation, the real clusters; takes them down
	@$(MAKE) e2e && code=0 || code=$$?; printf '\n==> take the clusters down\n'; $(MAKE) cluster-down; exit $$code

.PHONY: demo-down
demo-down: ## take the demo down; CLUSTER=current uninstalls it from your own cluster
	@CLUSTER="$(CLUSTER)" demo/run down

##@ The loop

.PHONY: unit
unit: ## the pure tests: seconds, no cluster
	$(STEP) "pure tests"
	$(CARGO) test --locked --lib --test cli --test plugin --test corpus --test pages --test reference -- $(ARGS)

# The newest Python here, and the oldest that the package supports
PYTHON ?= python3 python3.9
PYTEST := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/retryable-tasks/pytest

.PHONY: python
python: ## the Python package, by each Python of PYTHON="python3 python3.9" that is here; no cluster; installs pytest into the cache
	$(STEP) "Python package"
	@for python in $(PYTHON); do \
	  if [[ $$python == python3.* ]]; then export PYENV_VERSION=$${python#python}; fi; \
	  version=$$("$$python" -c 'import platform; print(platform.python_version())' 2>/dev/null) || \
	    { echo "no $$python here: the Python package is not tested with it"; continue; }; \
	  folder=$(PYTEST)-$$version; \
	  "$$folder/bin/python" -c 'import pytest' 2>/dev/null || \
	    { "$$python" -m venv "$$folder" && "$$folder/bin/python" -m pip install --quiet pytest; }; \
	  echo "Python $$version"; \
	  (cd sdk/python && PYTHONDONTWRITEBYTECODE=1 "$$folder/bin/python" -m pytest --quiet $(if $(ARGS),-k "$(ARGS)")); \
	done

SIMULATION := $(CARGO) test --locked --profile simulation --test simulation -- --nocapture

.PHONY: simulation
simulation: ## the operator against a simulated API server that fails, crashes and lies about time; SEED=7 replays one schedule
	$(STEP) "simulation"
	SCHEDULES=$(or $(SCHEDULES),10000) $(SIMULATION) $(if $(SEED),schedules,$(ARGS))

.PHONY: soak
soak: ## as many schedules as wanted: SCHEDULES=100000, from FIRST=10000 on
	SCHEDULES=$(or $(SCHEDULES),100000) $(SIMULATION) schedules

.PHONY: mutations
mutations: ## break the operator on purpose, show that the simulation notices, and write what did into the table; ARGS=07 makes one mistake alone
	CARGO="$(CARGO)" tests/simulation/mutate $(ARGS)

.PHONY: fuzz
fuzz: ## manifests and status that nobody would write, for as long as wanted: SECONDS_EACH=300; `make unit` replays what was kept
	SECONDS_EACH=$(or $(SECONDS_EACH),300) CARGO="$(CARGO)" fuzz/run

.PHONY: e2e
e2e: preflight ## the operator on two real clusters, which stay up; ARGS=drain runs those tests alone with that in their name
	CARGO="$(CARGO)" IMAGE_TAR="$(IMAGE_TAR)" tests/e2e/run $(ARGS)

.PHONY: kueue
kueue: preflight ## tasks under the quota of Kueue itself, which is built from its Go module the first time: ten minutes. `make e2e` has a double of it
	$(STEP) "build Kueue"
	{ read -r image; read -r chart; } < <(tests/kueue/build) && [ -n "$$chart" ] && \
	  CARGO="$(CARGO)" IMAGE_TAR="$$image" KUEUE_CHART="$$chart" tests/e2e/run kueue

DENY_VERSION := 0.20.2
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/retryable-tasks/tools

.PHONY: deny
deny: $(TOOLS)/bin/cargo-deny-$(DENY_VERSION) ## licences, sources and bans of what is linked, by deny.toml
	$(STEP) "licences"
	$< --workspace --config deny.toml --log-level error check bans licenses sources

# Unoptimised: it is built in a third of the time, and asked once.
$(TOOLS)/bin/cargo-deny-$(DENY_VERSION):
	$(STEP) "build cargo-deny"
	CARGO_TARGET_DIR=$(TOOLS)/target $(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --debug --root $(TOOLS)
	rm -rf $(TOOLS)/target
	cp $(TOOLS)/bin/cargo-deny $@

.PHONY: check
check: deny ## what CI refuses: warnings, formatting, stale generated files, faults in chart and scripts
	$(STEP) "formatting"
	$(CARGO) fmt --all --check
	$(STEP) "clippy"
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked -p side-by-side -- -D warnings
	$(STEP) "generated files: build the operator"
	for resource in $(RESOURCES); do \
	  $(CARGO) run --locked --quiet -- crd $$resource | diff -u crds/$$resource.yaml - || \
	    { echo "crds/$$resource.yaml is stale: run 'make generate'" >&2; exit 1; }; \
	done
	$(STEP) "build the cluster"
	$(KUBERNETES) build
	$(STEP) "generated files, chart, mistakes"
	$(IN_CLUSTER) deploy/generate --check
	$(IN_CLUSTER) charts/check
	tests/simulation/mutate --check
	$(STEP) "alerts"
	tests/prometheus/check
	$(STEP) "Go"
	cd tests/cluster && test -z "$$(gofmt -l . | tee /dev/stderr)" && go vet ./image && go test ./image
	cd bench/apiserver && test -z "$$(gofmt -l . | tee /dev/stderr)" && go vet .
	$(STEP) "workflows"
	cd .ci && go tool actionlint ../.github/workflows/*.yaml
	.ci/release --check
	$(STEP) "plugin archives, Argo CD's health check"
	cd .ci && go tool glua ../deploy/gitops/argocd-health-test.lua
	.ci/krew-check $(TARGET_DIR)/debug/retryable-tasks
	$(STEP) "scripts"
	if command -v shellcheck >/dev/null; then shellcheck -x $(SCRIPTS); else echo "no shellcheck here: scripts not checked"; fi

##@ Figures

BENCH := $(TARGET_DIR)/bench

.PHONY: bench
bench: image ## side by side with batch/v1 Job, 30 minutes at most; SCALE=small is a tenth, ONLY=drain,waiting parts of it, PUBLISH=1 updates their rows in docs/performance.md, and the table and pictures beside it
	RUSTFLAGS='$(STATIC)' $(CARGO) build --locked --release --target $(TARGET) -p side-by-side
	$(IN_CLUSTER) $(TARGET_DIR)/$(TARGET)/release/side-by-side --program $(BINARY) --image $(IMAGE_TAR) --out $(BENCH) \
	  $(if $(PUBLISH),--publish docs/performance.md)

.PHONY: outage
outage: preflight ## an outage of a service without a queue and with one, on real containers: what the service sees, drawn into docs/performance/outage.svg; minutes
	CARGO="$(CARGO)" OUTAGE_PLOT="$(CURDIR)/docs/performance/outage.svg" tests/e2e/run the_same_outage

.PHONY: bench-status
bench-status: ## what a status update costs the API server, by its own code, and what each constraint of the definition has in it; minutes
	cd bench/apiserver && go run . $(ARGS) ../../crds/retryabletasks.yaml

##@ Pieces

.PHONY: build
build: ## the operator, as it is in the image: release, static
	$(STEP) "build the release"
	RUSTFLAGS='$(STATIC)' $(CARGO) build --locked --release --target $(TARGET)

.PHONY: image
image: build ## the operator's image as an archive, made without a container engine
	$(KUBERNETES) pack --kind binary --binary $(BINARY) --name $(LOCAL_IMAGE) --out $(IMAGE_TAR)

.PHONY: publish
publish: ## build the image for amd64 and arm64 with docker buildx, and push it: IMAGE=REGISTRY/retryable-tasks:TAG
	docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max \
	  --build-arg VERSION=$(lastword $(subst :, ,$(IMAGE))) --build-arg REVISION=$$(git rev-parse HEAD) --tag $(IMAGE) --push .

DIST ?= dist

.PHONY: plugin
plugin: ## the plugin of kubectl: archives for amd64 and arm64 and krew's manifest, with a cross compiler or docker buildx: VERSION=1.2.3 URL=where-they-will-be
	CARGO="$(CARGO)" RUSTFLAGS='$(STATIC)' TARGET_DIR="$(TARGET_DIR)" .ci/plugin "$(VERSION)" "$(URL)" $(DIST)

.PHONY: crd
crd: ## write crds/ from the types
	mkdir -p crds
	for resource in $(RESOURCES); do \
	  $(CARGO) run --locked --quiet -- crd $$resource >$(TARGET_DIR)/crd.yaml && mv $(TARGET_DIR)/crd.yaml crds/$$resource.yaml; \
	done

.PHONY: generate
generate: crd ## write all that is generated: crds/, and from it the chart's copy and deploy/; the tables of docs/reference.md
	WRITE_REFERENCE=1 $(CARGO) test --locked --quiet --test reference generated_parts
	$(KUBERNETES) build
	$(IN_CLUSTER) deploy/generate

.PHONY: preflight
preflight:
	@$(KUBERNETES) check

.PHONY: cluster-up
cluster-up: ## start the real cluster with its node, or repair it
	$(STEP) "start the cluster"
	$(KUBERNETES) node

.PHONY: cluster-down
cluster-down: ## stop it, and the second one of the end-to-end tests, and leave nothing on the machine
	$(KUBERNETES) down
	CLUSTER_DIR= CLUSTER_NUMBER=$(E2E_SECOND_CLUSTER) $(KUBERNETES) down

.PHONY: cluster-test
cluster-test: ## show that the cluster itself works and leaves nothing
	$(STEP) "the cluster's own test"
	tests/cluster/self-test
