# Every command a person types. `make` alone lists them.
PORT ?= 8080
KAFKA ?=
DATABASE_URL ?=
export PORT KAFKA DATABASE_URL
BUILT = $${CARGO_TARGET_DIR:-target}

.PHONY: help run test bench fmt lint clean-data tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: tools ## everything on this machine; PORT=8080, KAFKA=host:port and DATABASE_URL=postgres://… if you have them
	cargo build --locked
	@exec "$(BUILT)/debug/testbed" run

test: tools ## format, lints, docs, unit and system tests against real services (fetches them, needs Java and Maven)
	@testbed/test.sh

bench: tools ## measure, side by side in one run
	cargo build --locked --release
	@exec "$(BUILT)/release/testbed" bench

fmt: ## format the code
	cargo fmt --all

lint: tools ## clippy with warnings denied
	cargo clippy --workspace --all-targets --locked -- -D warnings

clean-data: ## remove what `make run` has stored
	rm -rf "$$(readlink -f data/postgres 2>/dev/null)" data

tools:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust with rustup, see https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is missing: install one (Debian: build-essential; macOS: xcode-select --install)"; exit 1; }
