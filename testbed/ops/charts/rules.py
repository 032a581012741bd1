"""What holds in every rendering of the charts."""

import json
import re

import yaml

from faults import ROOT, check

PROGRAM_USER, NGINX_USER = 65532, 101
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
BUILT_IN = {"v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2", "networking.k8s.io/v1"}
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def pod_of(doc):
    """The (labels, spec) of the pods that a document makes."""
    if doc["kind"] == "Pod":
        return doc["metadata"]["labels"], doc["spec"]
    if doc["kind"] in ("Deployment", "Job"):
        return doc["spec"]["template"]["metadata"]["labels"], doc["spec"]["template"]["spec"]
    return None


def label_sets(doc):
    yield doc["metadata"]["labels"]
    if pod := pod_of(doc):
        yield pod[0]
    for keys in (("selector", "matchLabels"), ("podSelector", "matchLabels")):
        yield doc.get("spec", {}).get(keys[0], {}).get(keys[1], {})
    if doc["kind"] == "Service":
        yield doc["spec"]["selector"]


def check_pod(where, spec):
    """The pod security standard `restricted`, and what we ask beyond it."""
    security = spec.get("securityContext", {})
    check(security.get("runAsNonRoot") is True, f"{where}: may run as root")
    check(security.get("seccompProfile") == {"type": "RuntimeDefault"}, f"{where}: no seccomp profile")
    check(not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), f"{where}: uses the host's namespaces")
    check(spec.get("automountServiceAccountToken") is False, f"{where}: has a token of the API server")
    volumes = {volume["name"]: set(volume) - {"name"} for volume in spec.get("volumes", [])}
    for name, kinds in volumes.items():
        check(kinds and kinds <= VOLUMES, f"{where}: volume {name} is a {kinds}")
    mounted = set()
    for container in spec.get("initContainers", []) + spec["containers"]:
        here = f"{where}: container {container['name']}"
        security = container.get("securityContext", {})
        check(security.get("allowPrivilegeEscalation") is False, f"{here}: may gain privileges")
        check(not security.get("privileged"), f"{here}: is privileged")
        check(security.get("capabilities") == {"drop": ["ALL"]}, f"{here}: keeps capabilities")
        check(security.get("runAsNonRoot") is True, f"{here}: may run as root")
        check(security.get("readOnlyRootFilesystem") is True, f"{here}: may write to its root")
        user = NGINX_USER if container["name"] in ("nginx", "read-candle") else PROGRAM_USER
        check(security.get("runAsUser") == user, f"{here}: is not user {user}")
        resources = container.get("resources", {})
        check({"cpu", "memory"} <= set(resources.get("requests", {})), f"{here}: no requests")
        check("memory" in resources.get("limits", {}), f"{here}: no limit of memory")
        check(all(isinstance(v.get("value", ""), str) for v in container.get("env", [])), f"{here}: env that is no text")
        names = [variable["name"] for variable in container.get("env", [])]
        check(len(names) == len(set(names)), f"{here}: a variable twice in {names}")
        check(not any("\n" in item and container["name"] != "read-candle" for item in container.get("args", [])), f"{here}: args")
        for mount in container.get("volumeMounts", []):
            check(mount["name"] in volumes, f"{here}: mounts {mount['name']}, which is no volume")
            mounted.add(mount["name"])
    check(set(volumes) == mounted, f"{where}: volumes that nothing mounts: {set(volumes) - mounted}")


def check_running(where, spec):
    """Probes and stop of what runs for long."""
    for container in spec["containers"]:
        here = f"{where}: container {container['name']}"
        ports = {port["name"] for port in container["ports"]}
        probes = {name: container.get(f"{name}Probe", {}) for name in ("startup", "liveness", "readiness")}
        for name, probe in probes.items():
            port = probe.get("httpGet", probe.get("tcpSocket", {})).get("port")
            check(port in ports, f"{here}: its {name} probe asks port {port} of {ports}")
        if container["name"] != "nginx":
            paths = {name: probe.get("httpGet", {}).get("path") for name, probe in probes.items()}
            check(paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}, f"{here}: probes {paths}")
            check(ports == {"admin"}, f"{here}: its ports are {ports}")
    grace = spec["terminationGracePeriodSeconds"]
    by_name = {container["name"]: container for container in spec["containers"]}
    if "api" in by_name:
        sleeps = {name: by_name[name]["lifecycle"]["preStop"]["sleep"]["seconds"] for name in by_name}
        env = {item["name"]: item.get("value") for item in by_name["api"]["env"]}
        answers = int(env["FDA_HTTP__SHUTDOWN_TIMEOUT"].removesuffix("s"))
        check(sleeps["nginx"] + answers <= sleeps["api"], f"{where}: the api stops before Nginx: {sleeps}, {answers}")
        check(sleeps["api"] + 2 * answers < grace, f"{where}: {grace} s is less than the api may take")
        check(env["FDA_HTTP__LISTEN"].startswith("127.0.0.1:"), f"{where}: the api is reached past Nginx")
    else:
        check(grace >= 10, f"{where}: {grace} s is less than a worker may take")


def check_hooks(where, docs):
    """Whatever a hook's pod needs of this chart is a hook too, and there before it."""
    hooks = {}
    for doc in docs:
        annotations = doc["metadata"].get("annotations", {})
        if "helm.sh/hook" in annotations:
            check(
                annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded",
                f"{where}: {doc['kind']} has another delete policy",
            )
            hooks[doc["kind"], doc["metadata"]["name"]] = (
                annotations["helm.sh/hook"],
                int(annotations.get("helm.sh/hook-weight", 0)),
            )
    ours = {(doc["kind"], doc["metadata"]["name"]) for doc in docs}
    for doc in docs:
        if doc["kind"] != "Job":
            continue
        events, weight = hooks.get(("Job", doc["metadata"]["name"]), (None, 0))
        check(events == "pre-install,pre-upgrade", f"{where}: the migration is no hook")
        labels, spec = pod_of(doc)
        needs = [("ServiceAccount", spec["serviceAccountName"])]
        needs += [("ConfigMap", v["configMap"]["name"]) for v in spec["volumes"] if "configMap" in v]
        needs += [
            ("NetworkPolicy", policy["metadata"]["name"])
            for policy in docs
            if policy["kind"] == "NetworkPolicy" and policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        ]
        for need in needs:
            if need in ours:
                check(need in hooks and hooks[need][0] == events, f"{where}: {need} is no hook, but the migration needs it")
                check(need in hooks and hooks[need][1] < weight, f"{where}: {need} is not of lower weight than the Job")
        if any(policy["kind"] == "NetworkPolicy" for policy in docs):
            check(any(kind == "NetworkPolicy" for kind, _ in needs), f"{where}: the migration has no NetworkPolicy")


def check_all(chart, where, docs, embeds=(), runbooks=""):
    """`embeds` are the folders of the chart whose files must be in it."""
    names = [(doc["kind"], doc["metadata"]["name"]) for doc in docs]
    check(len(names) == len(set(names)), f"{where}: a name twice: {names}")
    pods = []
    for doc in docs:
        here = f"{where}: {doc['kind']} {doc['metadata']['name']}"
        longest = 63 if doc["kind"] in ("Service", "Job", "Deployment", "Pod") else 253
        check(len(doc["metadata"]["name"]) <= longest, f"{here}: too long a name")
        check("namespace" not in doc["metadata"], f"{here}: bound to a namespace")
        for labels in label_sets(doc):
            for key, value in labels.items():
                check(isinstance(value, str) and LABEL.fullmatch(value), f"{here}: label {key}: {value!r}")
        check(doc["metadata"]["labels"].get("app.kubernetes.io/version"), f"{here}: no version label")
        if pod := pod_of(doc):
            pods.append((doc, pod[0]))
            check_pod(here, pod[1])
        if doc["kind"] == "Deployment":
            check_running(here, pod[1])
            check(doc["spec"]["revisionHistoryLimit"] == 3, f"{here}: revisionHistoryLimit")
            for constraint in pod[1]["topologySpreadConstraints"]:
                check(constraint["labelSelector"]["matchLabels"].items() <= pod[0].items(), f"{here}: spreads other pods")
    for doc in docs:
        selector = {
            "Deployment": lambda s: s["selector"]["matchLabels"],
            "Service": lambda s: s["selector"],
            "PodDisruptionBudget": lambda s: s["selector"]["matchLabels"],
        }.get(doc["kind"])
        if selector:
            chosen = [pod["kind"] for pod, labels in pods if selector(doc["spec"]).items() <= labels.items()]
            check(chosen == ["Deployment"], f"{where}: {doc['kind']} {doc['metadata']['name']} selects {chosen}")
        if doc["kind"] == "ServiceMonitor":
            chosen = [
                service["metadata"]["name"]
                for service in docs
                if service["kind"] == "Service"
                and doc["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
            ]
            check(len(chosen) == 1 and chosen[0].endswith("-metrics"), f"{where}: the ServiceMonitor selects {chosen}")
    check_hooks(where, docs)
    # The chart's files are embedded as they are, but for where runbooks can be read.
    for kind, folder, embedded in (
        ("PrometheusRule", "rules", lambda doc: doc["spec"]),
        ("ConfigMap", "dashboards", lambda doc: json.loads(next(iter(doc["data"].values())))),
    ):
        found = [
            embedded(doc)
            for doc in docs
            if doc["kind"] == kind and doc["metadata"]["labels"]["app.kubernetes.io/component"] == folder
        ]
        if found or folder in embeds:
            files = sorted((ROOT / "charts" / chart / folder).glob("*.*"))
            check(files, f"charts/{chart}/{folder} has no file")
            texts = [file.read_text().replace("runbook_url: ", f"runbook_url: {runbooks}") for file in files]
            want = [yaml.safe_load(text) for text in texts]
            check(found == want, f"{where}: {kind} is not what charts/{chart}/{folder} has")
