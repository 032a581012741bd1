#!/usr/bin/env bash
# What one job of the workflow runs, alone and anywhere: `make ci-fmt` is `testbed/ops/job.sh fmt`. No argument lists them.
#   IMAGE_TAG   the tag of the images, `local` by default
#   IMAGES      a folder of saved images: `build` writes it, later jobs load from it; none: the local Docker's are used
set -euo pipefail
cd "$(dirname "$0")/../.."
. testbed/ops/tools.sh

export IMAGE_TAG=${IMAGE_TAG:-local}
images=(financial-data-ingest financial-data-api financial-data-nginx financial-data-testbed)
# 0.69.4 to 0.69.6 were malicious releases: by digest.
trivy_image=aquasec/trivy:0.74.0@sha256:62b1e65e8869bc4b4c6aa4fa2b21595256c7c2f6018a9d9ad61caf87187c1969

# FOLDER ARGUMENTS…: copied to /scan of its container and not mounted, since under act Docker does not see the job's files.
trivy() {
    local container status=0
    container=$(docker create --volume financial-data-trivy:/root/.cache/trivy "$trivy_image" --quiet "${@:2}")
    docker cp --quiet "$1" "$container:/scan"
    docker start --attach "$container" || status=$?
    docker rm "$container" >/dev/null
    return $status
}

# Sets `saved`, the folder of saved images, made from the local Docker's unless IMAGES names it.
have_saved() {
    if [ -n "${IMAGES-}" ]; then
        saved=$IMAGES
        return
    fi
    saved=$(mktemp -d)
    trap 'rm -rf "$saved"' EXIT
    local image
    for image in "$@"; do
        docker save --output "$saved/$image.tar" "$image:$IMAGE_TAG"
    done
}

# Loads saved images where there are some.
load() {
    if [ -z "${IMAGES-}" ]; then return; fi
    local image
    for image in "$@"; do
        docker load --quiet --input "$IMAGES/$image.tar"
    done
}

output() { # NAME VALUE: an output of the step, under GitHub
    echo "$1=$2"
    if [ -n "${GITHUB_OUTPUT-}" ]; then echo "$1=$2" >>"$GITHUB_OUTPUT"; fi
}

version() {
    # BASE: the commit that this one is merged onto; empty where there is none, as on a branch without a pull request.
    if [ -n "${BASE-}" ] && [ -n "${BASE//0/}" ]; then testbed/ops/version.sh raised "$BASE"; fi
    local tag
    tag=$(testbed/ops/version.sh tag)
    output tag "$tag"
}

# All YAML but the charts' templates, which are YAML only when rendered.
yamllint() { "$(tool yamllint)" --strict .; }

fmt() { cargo fmt --all --check; }

clippy() { cargo clippy --workspace --all-targets --locked -- -D warnings; }

rustdoc() {
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked --quiet
}

# With the advisories, which are fetched; `make test-ops` runs the parts that need no network.
cargo-deny() { "$(tool cargo-deny)" --workspace --locked check; }

cargo-audit() { "$(tool cargo-audit)" audit; }

image-misconfiguration() {
    local folder
    for folder in docker charts; do
        trivy "$folder" config --exit-code 1 --severity HIGH,CRITICAL /scan
    done
}

build() {
    make images
    if [ -z "${IMAGES-}" ]; then return; fi
    mkdir -p "$IMAGES"
    local image
    for image in "${images[@]}"; do
        docker save --output "$IMAGES/$image.tar" "$image:$IMAGE_TAG"
    done
}

# The images that are pushed. Operating system packages count too: the base is chosen here.
image-vulnerabilities() {
    have_saved "${images[@]:0:3}"
    local image
    for image in "${images[@]:0:3}"; do
        echo "$image:$IMAGE_TAG"
        trivy "$saved" image --exit-code 1 --severity HIGH,CRITICAL --ignore-unfixed --input "/scan/$image.tar"
    done
}

unit-tests() {
    cargo test --workspace --locked --lib --bins
    cargo test --workspace --locked --doc
}

# The programs as built by cargo, against real services.
system-tests() {
    testbed/test.sh oracle
    cargo test --workspace --locked --test '*'
}

# The images: what they must be, and in the Compose stack.
integration-tests() {
    load "${images[@]}"
    testbed/ops.sh images compose
}

# PARTS of testbed/ops.sh. Charts are installed on the control plane of TEST_KUBECONFIG, or on one of their own, whose
# nodes and pods kwok plays; KWOKCTL_OPTIONS such as `--runtime podman` are for that.
ops() {
    local -a parts
    read -ra parts <<<"${PARTS:-workflow monitoring nginx charts}"
    if [[ " ${parts[*]} " == *' charts '* && -z ${TEST_KUBECONFIG-} ]]; then control_plane; fi
    testbed/ops.sh "${parts[@]}"
}
control_plane() {
    kwokctl=$(tool kwokctl)
    trap '"$kwokctl" delete cluster --name financial-data-charts' EXIT
    mkdir -p .work
    export TEST_KUBECONFIG=$PWD/.work/kubeconfig
    # shellcheck disable=SC2086 # several options
    "$kwokctl" create cluster --name financial-data-charts --kubeconfig "$TEST_KUBECONFIG" --wait 2m ${KWOKCTL_OPTIONS-}
    "$kwokctl" scale node --name financial-data-charts --replicas 1
}

# IMAGE=financial-data-api REPOSITORY=docker.io/NAMESPACE/financial-data-api; the login is there already.
push() {
    : "${IMAGE:?which image}" "${REPOSITORY:?where to}"
    load "$IMAGE"
    have_saved "$IMAGE"
    docker tag "$IMAGE:$IMAGE_TAG" "$REPOSITORY:$IMAGE_TAG"
    docker push --quiet "$REPOSITORY:$IMAGE_TAG"
    local name
    name=$(docker image inspect --format '{{join .RepoDigests "\n"}}' "$REPOSITORY:$IMAGE_TAG" |
        grep -F "${REPOSITORY#docker.io/}@sha256:")
    output digest "${name#*@}"
    trivy "$saved" image --format spdx-json --input "/scan/$IMAGE.tar" >sbom.spdx.json
}

jobs=(version yamllint fmt clippy rustdoc cargo-deny cargo-audit image-misconfiguration build image-vulnerabilities
    unit-tests system-tests integration-tests ops push)

for job in "${jobs[@]}"; do
    if [ "$job" = "${1-}" ]; then
        "$job"
        exit
    fi
done
printf '%s\n' "${jobs[@]}"
[ $# -eq 0 ] || exit 2
