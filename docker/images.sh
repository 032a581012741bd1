#!/usr/bin/env bash
# Builds the images. Their tag, and their version label, is IMAGE_TAG, `local` by default. IMAGE_LTO=false leaves out
# link-time optimisation across crates.
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${IMAGE_TAG:-local}
labels=(
    --build-arg "VERSION=$tag"
    --build-arg "REVISION=$(git rev-parse HEAD)"
    --build-arg "CREATED=$(TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)"
    # BuildKit makes it the image's time of creation.
    --build-arg "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)"
)
for name in ingest api testbed; do
    docker build "${labels[@]}" --build-arg "LTO=${IMAGE_LTO:-thin}" \
        --file docker/Dockerfile --target "$name" --tag "financial-data-$name:$tag" .
done
docker build "${labels[@]}" --file docker/nginx/Dockerfile --tag "financial-data-nginx:$tag" .
