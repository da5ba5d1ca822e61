# Short verbs. `make help` says what each does.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BED := .testbed
# Queries are checked against what is committed in .sqlx; no database is needed to build.
export SQLX_OFFLINE := true
# Tests end the operator at every write; programs that are built for use have no such places.
POINTS := --features operator/crash-points
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## Say what can be done
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: prepare
prepare: ## Install what is missing where that is possible, and build the pinned Kubernetes tools once
	@bash tests/tools/prepare.sh

.PHONY: build
build: ## Build the programs
	cargo build --locked -p operator -p web-api -p meridian -p testbed

.PHONY: demo
demo: prepare build ## Show the main job on real control planes; DEMO_ONCE=1 ends by itself
	@bash tests/demo/run.sh "$(TARGET)/debug"

.PHONY: up
up: prepare build ## Start a hub, three members and PostgreSQL, and leave them running
	@"$(TARGET)/debug/testbed" up $(BED)

.PHONY: down
down: build ## End what `make up` started
	@"$(TARGET)/debug/testbed" down $(BED)

.PHONY: test
test: prepare ## Run the whole suite
	cargo build --locked --workspace --bins $(POINTS)
	cargo test --locked --workspace $(POINTS)

.PHONY: soak
soak: prepare ## Random work under random faults, and a check of what came of it; SEEDS=1,2 or SEEDS=1..20 (usual 1..5)
	cargo build --locked --workspace --bins $(POINTS)
	SEEDS="$(or $(SEEDS),1..5)" cargo test --locked --workspace $(POINTS) --test soak

.PHONY: planted
planted: prepare ## Plant bugs into a copy of the sources and see that the soak finds each; PLANTS="stale-is-zero" for some
	@bash tests/soak/planted.sh $(PLANTS)

.PHONY: sim
sim: prepare ## Prove what placement and random edits promise over far more fleets and histories than the tests do
	PROPTEST_CASES=6400 cargo test --release --locked -p domain --test placement
	MODEL_SEED=$${MODEL_SEED:-$$(date +%s)} MODEL_SEQUENCES=100000 MIRROR_SEQUENCES=200 cargo test --release --locked -p delivery --lib -- model

.PHONY: bench
bench: prepare ## Measure, and write docs/figures.md; BENCH="placement latency" for some parts, BENCH_SHORT=1 for a look
	cargo build --locked --release -p operator -p meridian -p sim -p bench
	"$(TARGET)/release/bench" $(BENCH)

.PHONY: lint
lint: ## Check format and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@bash tests/soak/planted.sh --check

.PHONY: queries
queries: ## Check all SQL against the schema and write what the build checks it by
	@bash tests/tools/queries.sh

.PHONY: crds
crds: ## Write the CRD manifests anew
	cargo run --locked -q -p crds --bin crdgen -- crds
