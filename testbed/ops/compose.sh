#!/usr/bin/env bash
# The Compose stack, for real: up, prices in, the README's lines through nginx, down. Beside one that `make up` started.
#   IMAGES=…  the images are loaded already, and not built
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
compose() { docker compose --file docker/compose.yaml "$@"; }
within() { # SECONDS COMMAND…: repeats it until it succeeds
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || fail "never true: $*"
        sleep 0.5
    done
}

HTTP_PORT=$(free_port)
KAFKA_PORT=$(free_port)
PROMETHEUS_PORT=$(free_port)
export HTTP_PORT KAFKA_PORT PROMETHEUS_PORT COMPOSE_PROJECT_NAME=financial-data-test
scratch=$(mktemp -d)
passed=
finish() {
    if [ -z "$passed" ]; then
        compose --profile '*' ps --all
        compose --profile '*' logs --no-color --tail 30
    fi
    compose --profile '*' down --volumes --timeout 5 --remove-orphans >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap finish EXIT

echo 'What each service is allowed'
compose --profile '*' config --format json | python3 testbed/ops/compose.py

if [ -z "${IMAGES-}" ]; then docker/images.sh; fi

echo 'Up'
compose up --detach --wait --wait-timeout 300
# Everything runs and is healthy, or has ended well.
compose ps --all --format '{{.Service}} {{.State}} {{.Health}} {{.ExitCode}}' | sort | tee "$scratch/services"
if grep -vE '^(secrets|migrate|roles|topic) exited +0$|^[a-z]+ running healthy 0$' "$scratch/services"; then
    fail 'these services are neither healthy nor done'
fi

echo 'Migrations, once more'
applied() { compose run --rm --no-deps -T psql -XAtc 'select count(*) from market_data._sqlx_migrations' </dev/null; }
before=$(applied)
compose run --rm --no-deps migrate
[ "$(applied)" = "$before" ] || fail 'migrations were applied twice'

echo 'Prices'
# Of AMZN, as many as the quickstart of the service that this one replaces has.
awk -F, 'NR == 1 || ($1 == "AMZN" && $2 >= "2019-06-28" && $2 <= "2022-06-24")' testbed/data/stocks_daily.csv >"$scratch/prices.csv"
make --no-print-directory populate FILE="$scratch/prices.csv"

echo "The README's lines"
url=http://localhost:$HTTP_PORT
curl -sS -I "$url/_healthcheck" | tr -d '\r' | tee "$scratch/health"
head -1 "$scratch/health" | grep -q ' 200' || fail 'not healthy through nginx'
first='[{"close":92.392,"high":101.79,"low":84.253,"open":95.455,"period_start":"2019-01-01","symbol":"AMZN","volume":8154332000},'
annual() {
    curl -sS -G -d interval=1 -d frequency=Annual "$url/stocks/time-series/AMZN" >"$scratch/annual"
    case $(cat "$scratch/annual") in "$first"*'"period_start":"2022-01-01"'*) ;; *) return 1 ;; esac
}
within 30 annual || { cat "$scratch/annual"; exit 1; }
cat "$scratch/annual"
echo

echo 'What helm test runs'
compose run --rm --no-deps -T --env BASE_URL=http://nginx:8080 --env SYMBOL= --volume "$PWD/charts/api/files:/files:ro" \
    --entrypoint /bin/sh nginx /files/read-candle.sh </dev/null

echo 'The simulator, in Avro, and Prometheus'
# Not Grafana: its dashboards are checked against the metrics by `testbed/ops.sh monitoring`.
# The simulator has no health to wait for. The worker is made anew, to read Avro too.
export KAFKA_FORMAT=avro
compose --profile load up --detach ingest simulate
compose --profile observability up --detach --wait --wait-timeout 120 prometheus
simulated() { curl -sS "$url/v1/candles/SIM.AAA?interval=1m&partial=include" | grep -q '"open":'; }
within 30 simulated
scraped() {
    curl -sS "http://localhost:$PROMETHEUS_PORT/api/v1/targets" >"$scratch/targets"
    python3 - "$scratch/targets" <<'P'
import json, sys
targets = json.load(open(sys.argv[1]))["data"]["activeTargets"]
sys.exit(sorted((t["labels"]["job"], t["health"]) for t in targets) != [("api", "up"), ("ingest", "up")])
P
}
within 60 scraped
curl -sS "http://localhost:$PROMETHEUS_PORT/api/v1/rules" >"$scratch/rules"
python3 - "$scratch/rules" <<'P'
import json, sys
groups = json.load(open(sys.argv[1]))["data"]["groups"]
folders = sorted({group["file"].split("/")[-2] for group in groups})
print(f"{sum(len(group['rules']) for group in groups)} rules of {folders}")
if folders != ["api", "ingest"]:
    sys.exit("FAILED: rules of a chart are missing")
P

echo 'Down'
compose --profile '*' stop
compose ps --all --format '{{.Service}} {{.ExitCode}}' ingest api nginx | sort | tee "$scratch/stopped"
[ "$(cat "$scratch/stopped")" = $'api 0\ningest 0\nnginx 0' ] || fail 'a program did not end by itself'
compose --profile '*' down --volumes
left=$(docker ps --all --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
    docker volume ls --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
[ -z "$left" ] || fail "left behind: $left"
passed=1
echo 'The stack works.'
