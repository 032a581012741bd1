#!/usr/bin/env bash
# Metrics, rules, runbooks, dashboards: against what the running programs expose.
# Needs promtool (Debian and Homebrew: prometheus), Python 3, and what `make test` needs.
set -euo pipefail
cd "$(dirname "$0")/../.."
. testbed/ops/tools.sh

if ! command -v promtool >/dev/null; then
    echo 'promtool is missing: install Prometheus (Debian and Homebrew: prometheus)' >&2
    exit 1
fi
python=$(python_tool python testbed/ops/rules/requirements.txt)
exposition=$(mktemp -d)
trap 'rm -rf "$exposition"' EXIT

echo 'Rules are valid, and each alert does what its tests say'
promtool check rules charts/*/rules/*.yaml
promtool test rules testbed/ops/rules/*.yaml

echo 'Scraping the running programs'
# As in `make test`: a plain build would compile many dependencies once more, with fewer features.
cargo test --workspace --locked --no-run
MONITORING_EXPOSITION=$exposition cargo test --workspace --locked --test it monitoring::metrics
for program in ingest api; do
    promtool check metrics <"$exposition/$program.prom"
done

echo 'Every metric in a rule, a panel or a page exists; every alert has its tests and its runbook'
"$python" testbed/ops/rules/check.py "$exposition"/*.prom
