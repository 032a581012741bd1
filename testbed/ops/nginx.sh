#!/usr/bin/env bash
# The nginx configuration: what the template becomes, by nginx itself and by gixy. How it behaves is tested in
# testbed/tests/it/nginx.rs.
set -euo pipefail
cd "$(dirname "$0")/../.."
. testbed/ops/tools.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The image's entrypoint does the same with envsubst.
render() {
    env -i PATH="$PATH" NGINX_DIR="$work" "$@" sh -euc '
        . docker/nginx/05-defaults.envsh
        awk '\''{
            while (match($0, /\$\{NGINX_[A-Z_]+\}/)) {
                name = substr($0, RSTART + 2, RLENGTH - 3)
                if (!(name in ENVIRON)) { print name " has no default" > "/dev/stderr"; exit 1 }
                $0 = substr($0, 1, RSTART - 1) ENVIRON[name] substr($0, RSTART + RLENGTH)
            }
            print
        }'\'' docker/nginx/nginx.conf.template' >"$work/nginx.conf"
}

check() {
    echo "$1: nginx -t, gixy"
    "$nginx" -t -q -p "$work" -e stderr -c nginx.conf
    "$gixy" "$work/nginx.conf"
}

nginx=$(PATH=$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin command -v nginx) || {
    echo 'nginx is missing: install it (Debian: nginx-light; macOS: brew install nginx)' >&2
    exit 1
}
gixy=$(tool gixy)
shellcheck=$(tool shellcheck)
"$shellcheck" docker/nginx/05-defaults.envsh
"$nginx" -v

render
check 'defaults'
render NGINX_LISTEN='8080 [::1]:8080' NGINX_API='10.0.0.1:8000 10.0.0.2:8000' NGINX_RATE_LIMIT=50r/s NGINX_BURST=10 \
    NGINX_TRUSTED_PROXIES='10.0.0.0/8 fd00::/8'
check 'everything set'
