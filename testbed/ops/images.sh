#!/usr/bin/env bash
# The images: linted, built, and held against what production asks of them.
#   images.sh          all of that
#   IMAGES=…           the images are loaded already, and not built
#   images.sh --twice  builds the binaries twice without a cache and compares them
set -euo pipefail
cd "$(dirname "$0")/../.."
. testbed/ops/tools.sh

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
same() { # WHAT EXPECTED ACTUAL
    [ "$2" = "$3" ] || fail "$1 is '$3', not '$2'"
}

scratch=$(mktemp -d)
container=
finish() {
    if [ -n "$container" ]; then docker rm --force "$container" >/dev/null; fi
    rm -rf "$scratch"
}
trap finish EXIT

if [ "${1-}" = --twice ]; then
    for run in 1 2; do
        echo "Build $run without a cache …"
        docker build --quiet --no-cache --file docker/Dockerfile --target binaries --output "$scratch/$run" . >/dev/null
        (cd "$scratch/$run" && sha256sum ingest api testbed) | tee "$scratch/$run.sha256"
    done
    cmp "$scratch/1.sha256" "$scratch/2.sha256" || fail 'two builds of the same sources differ'
    echo 'Both builds gave the same bytes.'
    exit
fi

echo 'Dockerfiles'
"$(tool hadolint)" --config .hadolint.yaml docker/Dockerfile docker/nginx/Dockerfile
if docker build --help | grep -q -- ' --check '; then
    for file in docker/Dockerfile docker/nginx/Dockerfile; do docker build --check --file "$file" .; done
else
    echo 'NOT RUN: docker build --check needs buildx 0.15'
fi
# What a machine without a registry, or with a mirror of one, cannot do.
for file in docker/Dockerfile docker/nginx/Dockerfile; do
    if grep -nE '^# *syntax=|^FROM [^ ]*@sha256' "$file"; then fail "$file names a frontend or a digest"; fi
    if grep -nE '^FROM [^$]' "$file" | grep -v ':FROM scratch ' | grep -vE ':FROM (chef|program) '; then
        fail "$file has a base image that is no ARG"
    fi
done

if [ -z "${IMAGES-}" ]; then docker/images.sh; fi
tag=${IMAGE_TAG:-local}
revision=$(git rev-parse HEAD)
created=$(TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)

inspect() { docker image inspect --format "$2" "$1"; }
default() { sed -n "s/^ARG $2=//p" "docker/$1"; } # DOCKERFILE ARG
size() { # IMAGE: bytes of its files, whatever the engine keeps them in
    local id
    id=$(docker create "$1" none)
    docker export "$id" | wc -c
    docker rm "$id" >/dev/null
}
# As in the cluster: nothing can be written, no capability, and here no network either.
confined=(docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges --network none)

for name in ingest api testbed nginx; do
    image=financial-data-$name:$tag
    user=65532:65532 file=Dockerfile argument=BASE_IMAGE limit=45
    if [ "$name" = nginx ]; then user=101:101 file=nginx/Dockerfile argument=NGINX_IMAGE limit=1; fi

    base=$(default "$file" "$argument")
    mib=$((($(size "$image") - $(size "$base") + 1048575) / 1048576))
    echo "$image: $mib MiB beside $base"
    [ "$mib" -le "$limit" ] || fail "$image has $mib MiB beside its base; the limit is $limit"

    same "the user of $image" "$user" "$(inspect "$image" '{{.Config.User}}')"
    # A shell in front would not pass signals on.
    case $(inspect "$image" '{{json .Config.Entrypoint}}') in
    '["/bin/sh"'* | null) fail "$image has no entrypoint in exec form" ;;
    esac
    kind=CMD
    if [ "$name" = testbed ]; then kind=NONE; fi
    same "the health check of $image" "$kind" "$(inspect "$image" '{{index .Config.Healthcheck.Test 0}}')"
    label() { inspect "$image" "{{index .Config.Labels \"org.opencontainers.image.$1\"}}"; }
    same 'the label title' "financial-data-$name" "$(label title)"
    same 'the label version' "$tag" "$(label version)"
    same 'the label revision' "$revision" "$(label revision)"
    same 'the label created' "$created" "$(label created)"
    same 'the label licenses' MIT "$(label licenses)"
    [ -n "$(label description)" ] || fail "$image has no label description"
    same "the time of $image" "$created" "$(inspect "$image" '{{.Created}}')"
done

for name in ingest api; do
    image=financial-data-$name:$tag
    "${confined[@]}" "$image" --version
    # The configuration of prod is in the image.
    "${confined[@]}" "$image" config check | tee "$scratch/config"
    grep -q 'max_connections.*16' "$scratch/config" || fail "$image does not read config/prod.yaml"
done
"${confined[@]}" "financial-data-testbed:$tag" --version

# Without a database it starts and says that it is not ready: the check tells the one from the other. Compose shows
# that it becomes healthy.
for name in ingest api; do
    image=financial-data-$name:$tag
    container=$("${confined[@]}" --detach "$image")
    for _ in $(seq 100); do
        if docker exec "$container" "/usr/local/bin/$name" healthcheck >"$scratch/health" 2>&1; then
            fail "$image calls itself healthy without a database"
        fi
        if grep -q 'not ready: ' "$scratch/health"; then break; fi
        sleep 0.1
    done
    grep 'not ready: ' "$scratch/health" || fail "the health check of $image said: $(cat "$scratch/health")"
    docker stop --time 20 "$container" >/dev/null
    container=
done
echo 'The images hold.'
