# Every command a person types. `make` alone lists them.
PORT ?= 8080
KAFKA ?=
DATABASE_URL ?=
SEED ?=
MINUTES ?= 10
RATE ?= 300
FUZZ_SECONDS ?= 60
export PORT KAFKA DATABASE_URL
BUILT = $${CARGO_TARGET_DIR:-target}
COMPOSE = docker compose --file docker/compose.yaml

.PHONY: help run test chaos fuzz bench fmt lint clean-data up down populate images images-twice test-ops app-cicd tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: tools ## everything on this machine; PORT=8080, KAFKA=host:port and DATABASE_URL=postgres://… if you have them
	cargo build --locked
	@exec "$(BUILT)/debug/testbed" run

test: tools ## format, lints, docs, unit and system tests against real services (fetches them, needs Java and Maven)
	@testbed/test.sh

chaos: tools ## kill, cut, freeze and fill all that can be, and compare the result; SEED=, MINUTES=10, RATE=300
	cargo build --locked
	@testbed/test.sh oracle
	@exec "$(BUILT)/debug/testbed" chaos $(if $(SEED),--seed $(SEED)) --minutes $(MINUTES) --rate $(RATE)

fuzz: tools ## decoders, parsers and cursors with inputs that are nearly good; FUZZ_SECONDS=60 for each
	FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --workspace --locked --test it -- --nocapture --test-threads=1 fuzz::

bench: tools ## measure, side by side in one run
	cargo build --locked --release
	@exec "$(BUILT)/release/testbed" bench

fmt: ## format the code
	cargo fmt --all

lint: tools ## clippy with warnings denied
	cargo clippy --workspace --all-targets --locked -- -D warnings

clean-data: ## remove what `make run` has stored
	@! { pid=$$(cat data/run.lock 2>/dev/null) && [ -n "$$pid" ] && kill -0 "$$pid" 2>/dev/null; } \
		|| { echo "make run (process $$pid) uses data: stop it first"; exit 1; }
	rm -rf "$$(readlink -f data/postgres 2>/dev/null)" data

up: ## the stack in containers, as in production; HTTP_PORT=80
	docker/images.sh
	$(COMPOSE) up --detach --wait

down: ## stop that stack; ARGS=--volumes removes its data
	$(COMPOSE) --profile '*' down $(ARGS)

populate: ## publish FILE=bars.csv, daily bars, to that stack
	$(COMPOSE) run --rm --no-deps -T testbed publish /dev/stdin --brokers kafka:9092 --topic ticks --float32 <"$(FILE)"

images: ## build the container images; IMAGE_TAG=local
	docker/images.sh

images-twice: ## build the binaries twice without a cache and compare them
	testbed/ops/images.sh --twice

test-ops: ## checks of workflow, monitoring, nginx, charts, images and the stack in containers; PARTS=charts for one
	@testbed/ops.sh $(PARTS)

app-cicd: ## the pipeline of GitHub under act; needs Docker
	@bash -c '. testbed/ops/tools.sh; exec "$$(tool act)" workflow_dispatch --workflows .github/workflows/app_code_cicd.yml'

ci-%: ## one job of that pipeline, such as ci-clippy; testbed/ops/job.sh lists them
	@testbed/ops/job.sh $*

tools:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust with rustup, see https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is missing: install one (Debian: build-essential; macOS: xcode-select --install)"; exit 1; }
	@command -v perl >/dev/null || { echo "Perl is missing, which OpenSSL is built with: install it (Debian: perl)"; exit 1; }
