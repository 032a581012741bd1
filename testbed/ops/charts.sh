#!/usr/bin/env bash
# Checks the Helm charts: values, schemas, what they render, their READMEs; and installs them where TEST_KUBECONFIG
# names a cluster, see charts/cluster.sh. `charts.sh docs` writes the READMEs anew.
set -euo pipefail
cd "$(dirname "$0")/../.."
. testbed/ops/tools.sh

# The oldest version that the charts take, and the newest that has schemas.
kube_versions=(1.30.0 1.37.0)

# crds: the CRDs of what the charts can make, as their projects publish them.
crds() {
    crd github.com/prometheus-operator/prometheus-operator v0.85.0 \
        example/prometheus-operator-crd/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml
    crd github.com/kedacore/keda/v2 v2.21.0 config/crd/bases/keda.sh_scaledobjects.yaml
    crd sigs.k8s.io/gateway-api v1.6.3 config/crd/standard/gateway.networking.k8s.io_httproutes.yaml
}
# crd MODULE VERSION FILE…
crd() {
    local module=$1 version=$2 go folder file
    shift 2
    go=$(command -v go || echo /usr/local/go/bin/go)
    folder=$("$go" mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    for file; do
        cat "$folder/$file"
        echo ---
    done
}
make_schemas() {
    crds >"$1/crds.yaml"
    "$python" testbed/ops/charts/schemas.py "$1" "$1/crds.yaml" "${kube_versions[@]}"
}

helm=$(tool helm)
helm_docs=$(tool helm-docs)
kubeconform=$(tool kubeconform)
python=$(dirname "$(tool kubernetes-validate)")/python
write_readmes() {
    "$helm_docs" --chart-search-root "$1" --sort-values-order file --log-level warning
}
if [ "${1:-}" = docs ]; then
    write_readmes charts
    exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "The script of helm test"
"$(tool shellcheck)" --shell=sh charts/api/files/read-candle.sh

echo "READMEs are what their values say"
cp -R charts "$work/charts"
# helm-docs leaves what it cannot read, and exits 0.
rm "$work"/charts/*/README.md
write_readmes "$work/charts"
for chart in ingest api; do
    if grep -E '^\| [^|]+ \|.*\|  *\|$' "$work/charts/$chart/README.md"; then
        echo "charts/$chart/values.yaml: these have no comment" >&2
        exit 1
    fi
    diff -u "charts/$chart/README.md" "$work/charts/$chart/README.md" || {
        echo "charts/$chart/README.md is old: run testbed/ops/charts.sh docs" >&2
        exit 1
    }
done

echo "Values, schemas, labels, what is rendered"
cargo test --quiet --workspace --locked --no-run
mkdir "$work/rendered"
"$python" testbed/ops/charts/check.py "$helm" "${CARGO_TARGET_DIR:-target}/debug" "$work/rendered"

schemas=$tools_dir/kube-schemas-$(cat testbed/ops/charts.sh testbed/ops/charts/schemas.py testbed/ops/requirements.txt | cksum | tr ' ' '-')
installed "$schemas" make_schemas "$schemas"
for version in "${kube_versions[@]}"; do
    echo "kubeconform, Kubernetes $version"
    "$kubeconform" -strict -summary -kubernetes-version "$version" -schema-location \
        "$schemas/{{ .NormalizedKubernetesVersion }}-standalone{{ .StrictSuffix }}/{{ .ResourceKind }}{{ .KindSuffix }}.json" \
        "$work/rendered"
    # The same must refuse what is misspelt.
    for kind in Deployment ScaledObject; do
        sed "/^kind: $kind/,\$s/^spec:/spec:\n  unknownKey: 1/" "$work/rendered/ingest-everything.yaml" >"$work/wrong.yaml"
        if "$kubeconform" -strict -kubernetes-version "$version" -schema-location \
            "$schemas/{{ .NormalizedKubernetesVersion }}-standalone{{ .StrictSuffix }}/{{ .ResourceKind }}{{ .KindSuffix }}.json" \
            "$work/wrong.yaml" >"$work/wrong.log" || ! grep -q "$kind.*unknownKey" "$work/wrong.log"; then
            echo "kubeconform does not refuse an unknown key of a $kind" >&2
            exit 1
        fi
    done
done

if [ -n "${TEST_KUBECONFIG:-}" ]; then
    testbed/ops/charts/cluster.sh "$helm" "$work/rendered" "$schemas/crds.yaml"
elif [ "${CI:-}" = true ]; then
    echo "TEST_KUBECONFIG is not set: in CI the charts are to be installed" >&2
    exit 1
else
    echo "NOT RUN: install, upgrade, rollback: TEST_KUBECONFIG names no cluster"
fi
