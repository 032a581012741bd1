#!/usr/bin/env bash
# cluster.sh HELM RENDERED CRDS: installs, upgrades, rolls back and removes both charts, by default and with everything
# on, in a namespace that enforces `restricted`.
#
# For a cluster of its own, named by TEST_KUBECONFIG, whose nodes are played (kwok): the API server, the controllers and
# admission are real, no container runs. So what the migration and `helm test` execute is not seen here.
set -euo pipefail
helm=$1 rendered=$2 crds=$3
export KUBECONFIG=$TEST_KUBECONFIG
space=charts-test-$$
charts=$(cd "$(dirname "$0")/../../../charts" && pwd)

fail() {
    echo "FAILED: $*" >&2
    kubectl --namespace "$space" get events --sort-by=.lastTimestamp 2>/dev/null | tail -20 >&2
    exit 1
}
trap 'kubectl delete namespace "$space" --ignore-not-found --wait=false >/dev/null' EXIT

kubectl create namespace "$space" >/dev/null
kubectl label namespace "$space" pod-security.kubernetes.io/enforce=restricted >/dev/null
kubectl apply --server-side --filename "$crds" >/dev/null
kubectl wait --for=condition=Established --timeout=60s --filename "$crds" >/dev/null
kubectl apply --filename - >/dev/null <<Y
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: steady}, value: 1000}
Y

echo "The API server takes every rendering, strictly; \`restricted\` takes the hooks' and tests' pods"
for file in "$rendered"/*.yaml; do
    # Objects of before would be patched, and then less is checked: nothing is installed yet.
    kubectl --namespace "$space" apply --dry-run=server --validate=strict --filename "$file" >/dev/null || fail "$(basename "$file")"
done
pod=$rendered/api-default.yaml
for change in 's/allowPrivilegeEscalation: false/allowPrivilegeEscalation: true/' 's/type: RuntimeDefault/type: Unconfined/'; do
    if sed "$change" "$pod" | kubectl --namespace "$space" apply --dry-run=server --filename - >/dev/null 2>"$rendered/refused"; then
        fail "a pod with $change was taken: the namespace does not enforce"
    fi
    grep -q 'violates PodSecurity "restricted' "$rendered/refused" || fail "refused for another reason: $(cat "$rendered/refused")"
done

ready() { # DEPLOYMENT NUMBER
    [ "$(kubectl --namespace "$space" get deployment "$1" -o jsonpath='{.status.readyReplicas}')" = "$2" ] || fail "$1 has not $2 ready pods"
}
level() { # DEPLOYMENT: the log level in the ConfigMap and the pods' checksum of it
    kubectl --namespace "$space" get configmap "$1" -o jsonpath='{.data.config\.yaml}' | sed -n 's/^ *filter: *//p'
    kubectl --namespace "$space" get deployment "$1" -o jsonpath='{.spec.template.metadata.annotations.checksum/config}'
}
migrations() { # how often a Job for migrations has come to its end
    kubectl --namespace "$space" get events --field-selector involvedObject.kind=Job,reason=Completed -o jsonpath='{range .items[*]}{.involvedObject.uid}{"\n"}{end}' | sort -u | grep -c . || true
}

lifecycle() { # CHART READY ARGUMENT…
    local chart=$1 pods=$2 first second
    shift 2
    echo "$chart ${*##*/}: install, upgrade, rollback, uninstall"
    "$helm" --namespace "$space" install "$chart" "$charts/$chart" --wait --timeout 3m "$@" --set config.log.filter=info >/dev/null || fail "install $chart"
    ready "$chart" "$pods"
    first=$(level "$chart")
    "$helm" --namespace "$space" upgrade "$chart" "$charts/$chart" --wait --timeout 3m "$@" --set config.log.filter=debug >/dev/null || fail "upgrade $chart"
    ready "$chart" "$pods"
    second=$(level "$chart")
    [ "$first" != "$second" ] || fail "the upgrade of $chart changed nothing"
    "$helm" --namespace "$space" rollback "$chart" 1 --wait --timeout 3m >/dev/null || fail "rollback $chart"
    ready "$chart" "$pods"
    [ "$(level "$chart")" = "$first" ] || fail "the rollback of $chart did not bring back the first state"
    "$helm" --namespace "$space" uninstall "$chart" --wait --timeout 3m >/dev/null || fail "uninstall $chart"
    left=$(kubectl --namespace "$space" get all,configmap,serviceaccount,networkpolicy,poddisruptionbudget,ingress,scaledobject,servicemonitor,prometheusrule,httproute \
        --selector "app.kubernetes.io/instance=$chart" --output name --ignore-not-found)
    # Pods and ReplicaSets go a moment after their Deployment.
    left=$(grep -vE '^(pod|replicaset\.apps)/' <<<"$left" || true)
    [ -z "$left" ] || fail "uninstall of $chart leaves $left"
}

lifecycle ingest 1
[ "$(migrations)" = 2 ] || fail "the migration ran $(migrations) times at an install and an upgrade"
lifecycle api 2
# Nobody scales here: KEDA does not run, and the autoscaler raises to its minimum.
lifecycle ingest 1 --values "$charts/ingest/ci/everything-values.yaml"
lifecycle api 3 --values "$charts/api/ci/everything-values.yaml"
echo "NOT RUN on this cluster, as no container runs: \`ingest migrate\` in its Job, \`helm test\`; and no operator acts on the custom resources"
