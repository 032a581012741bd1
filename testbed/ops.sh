#!/usr/bin/env bash
# Checks of what runs in production. `testbed/ops.sh workflow charts` runs those parts alone.
# They need Docker, Go and Python 3; `images`, `compose` and `charts` a Docker daemon or a Kubernetes API server.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then set -- workflow monitoring nginx charts images compose; fi

for part in "$@"; do
    start=$SECONDS
    printf '\n=== %s\n' "$part"
    "testbed/ops/$part.sh"
    printf '=== %s: %d s\n' "$part" $((SECONDS - start))
done
printf '\nAll parts passed in %d s.\n' "$SECONDS"
