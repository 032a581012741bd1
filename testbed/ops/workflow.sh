#!/usr/bin/env bash
# The workflow and what it leans on, as far as it can be checked without GitHub.
set -euo pipefail
cd "$(dirname "$0")/../.."
. testbed/ops/tools.sh

step() { printf -- '--- %s\n' "$*"; }

step 'version: the tags of images and the raised IMAGE_VERSION'
testbed/ops/version_test.sh

step yamllint
testbed/ops/job.sh yamllint

step 'shellcheck: every shell script'
scripts=$(git grep --untracked -lIE -e '^#!.*[ /](ba)?sh$' -- . ':!*.md')
# SC2016: what stands in single quotes is for awk or another shell.
# shellcheck disable=SC2086 # one path a line, none with a space
"$(tool shellcheck)" --exclude=SC2016 --external-sources --source-path=SCRIPTDIR:. $scripts testbed/ops/tools.sh

step 'actionlint, with shellcheck of each command'
"$(tool actionlint)" -shellcheck "$(tool shellcheck)"

step zizmor
"$(tool zizmor)" --offline --quiet --strict-collection .github

step 'check-jsonschema: workflows, actions, Renovate, Compose'
schema() { "$(tool check-jsonschema)" --builtin-schema "vendor.$1" "${@:2}"; }
schema github-workflows .github/workflows/*.yml
schema github-actions .github/actions/*/action.yml
schema renovate renovate.json
schema compose-spec docker/compose.yaml
python3 -m json.tool .vscode/launch.json >/dev/null
python3 -m json.tool .devcontainer/devcontainer.json >/dev/null

step 'pins, order, rights and targets of the workflows'
"$(dirname "$(tool yamllint)")/python" testbed/ops/workflow_check.py

step 'act: the workflows can be read; "make app-cicd" runs them, which needs Docker and registries'
for file in .github/workflows/*.yml; do
    "$(tool act)" --validate --strict --workflows "$file"
done

step 'hadolint: the development container'
"$(tool hadolint)" .devcontainer/Dockerfile

step 'checkov: what the job image-misconfiguration asks of Trivy, as far as that goes without its image'
rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
for chart in charts/*/; do
    "$(tool helm)" template release "$chart" --kube-version 1.37.0 >"$rendered/$(basename "$chart").yaml"
done
# Left out: tags of base images, which are ARGs and not resolved (DOCKER_7). Digests (K8S_43), the namespace (K8S_21) and
# network policies (2_K8S_6), which are the installer's choice; pulling a tag again that never changes (K8S_15); limits of
# CPU (K8S_11), which throttle; user 101 (K8S_40), which is nginx's; probes (K8S_8, K8S_9) of the pod of `helm test`, and
# charts.sh looks at the others.
skipped=CKV_DOCKER_7,CKV_K8S_43,CKV_K8S_21,CKV2_K8S_6,CKV_K8S_15,CKV_K8S_11,CKV_K8S_40,CKV_K8S_8,CKV_K8S_9
scan() { "$(tool checkov)" --quiet --compact --skip-download --skip-check "$skipped" "$@"; }
scan --framework dockerfile --directory docker
scan --framework github_actions --directory .
scan --framework kubernetes --directory "$rendered"

step 'cargo-deny: bans, licenses and sources; advisories are fetched, so the jobs cargo-deny and cargo-audit check them'
"$(tool cargo-deny)" --workspace --locked check bans licenses sources
