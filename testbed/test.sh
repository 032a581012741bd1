#!/usr/bin/env bash
# Everything that must hold, in the order of what fails soonest; each part says how long it took.
set -euo pipefail
cd "$(dirname "$0")/.."
. testbed/ops/tools.sh

part() {
    local name=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@"
    printf '=== %s: %d s\n' "$name" $((SECONDS - start))
}

# The Python packages of the oracle and the emulation of AWS, in an environment of their own.
oracle() {
    local python
    python=$(python_tool python testbed/requirements.txt)
    mkdir -p .work
    rm -rf .work/venv
    ln -s "$(dirname "$(dirname "$python")")" .work/venv
}

# `testbed/test.sh oracle` only prepares the oracle, for `cargo test` by hand.
if [ "${1-}" = oracle ]; then
    oracle
    exit
fi

part 'format' cargo fmt --all --check
part 'lints' cargo clippy --workspace --all-targets --locked -- -D warnings
part 'documentation' env RUSTDOCFLAGS='-D warnings' \
    cargo doc --workspace --no-deps --document-private-items --locked --quiet
# The programs too: the tests start them. A plain build would compile many dependencies once more, with fewer features.
part 'build' cargo test --workspace --locked --no-run
part 'oracle' oracle
part 'tests' cargo test --workspace --locked
part 'chaos, short' "${CARGO_TARGET_DIR:-target}/debug/testbed" chaos --short --minutes 1
printf '\nAll parts passed in %d s.\n' "$SECONDS"
