#!/usr/bin/env bash
# Everything that must hold, in the order of what fails soonest; each part says how long it took.
set -euo pipefail
cd "$(dirname "$0")/.."

part() {
    local name=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@"
    printf '=== %s: %d s\n' "$name" $((SECONDS - start))
}

# The Python packages of the oracle and the emulation of AWS, in an environment of their own; made again when the list
# changes.
oracle() {
    local venv=.work/venv list=testbed/requirements.txt
    if cmp -s "$list" "$venv/requirements.txt"; then return; fi
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$list"
    cp "$list" "$venv/requirements.txt"
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
