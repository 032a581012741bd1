"""Renders the charts in every way that has a values file, and checks what must hold in all of them.

usage: check.py HELM PROGRAMS OUT: PROGRAMS is the folder of `ingest` and `api`; what is rendered is left in the folder
OUT, for kubeconform and the cluster.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

from faults import ROOT, check, counts, faults
from features import FEATURES, TAG, find
from rules import BUILT_IN, check_all, pod_of

HELM, PROGRAMS, OUT = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
CHARTS = ("ingest", "api")
KUBE_VERSION = "1.33.0"


def load(text):
    return yaml.load(text, yaml.CSafeLoader)


def helm(*args):
    return subprocess.run([HELM, *map(str, args)], capture_output=True, text=True, check=False)


def render(chart, *args, release="r"):
    """The documents, or the reason why there are none."""
    where = chart if "/" in chart else ROOT / "charts" / chart
    run = helm("template", release, where, "--kube-version", KUBE_VERSION, *args)
    if run.returncode:
        return None, run.stderr
    return [doc for doc in yaml.load_all(run.stdout, yaml.CSafeLoader) if doc], run.stdout


def renderings():
    for chart in CHARTS:
        files = {path.name.removesuffix("-values.yaml"): path for path in (ROOT / "charts" / chart / "ci").iterdir()}
        expected = FEATURES[chart]
        check(set(files) == set(expected), f"{chart}: files of ci/ without an expectation, or the reverse: {set(files) ^ set(expected)}")
        files["default"] = None
        for feature, path in sorted(files.items()):
            where = f"{chart} {feature}"
            args = ["--values", path] if path else []
            lint = helm("lint", "--strict", "--quiet", "--kube-version", KUBE_VERSION, ROOT / "charts" / chart, *args)
            check(lint.returncode == 0, f"{where}: helm lint: {lint.stdout}{lint.stderr}")
            docs, text = render(chart, *args)
            check(docs, f"{where}: {text}")
            if not docs:
                continue
            (OUT / f"{chart}-{feature}.yaml").write_text(text)
            embeds = {"prometheus-rule": ["rules"], "dashboards": ["dashboards"], "everything": ["rules", "dashboards"]}
            values = load(path.read_text()) if path else {}
            runbooks = values.get("prometheusRule", {}).get("runbooks", "")
            check_all(chart, where, docs, embeds.get(feature, ()), runbooks)
            for place, want in expected.get(feature, {}).items():
                found = find(docs, place)
                check(found == want, f"{where}: {place} is {found!r}, not {want!r}")
            if feature == "default":
                kinds = {doc["apiVersion"] for doc in docs}
                check(kinds <= BUILT_IN, f"{where}: needs a CRD: {kinds - BUILT_IN}")
            if feature == "everything":
                templates = {f.name for f in (ROOT / "charts" / chart / "templates").rglob("*.yaml")}
                used = {pathlib.Path(source).name for source in re.findall(r"# Source: (\S+)", text)}
                check(templates == used, f"{where}: templates that it does not use: {templates - used}")
        # A change of configuration rolls the pods.
        sums = {
            find(render(chart, "--set", f"config.log.filter={filter}")[0], f"Deployment/r-{chart}:spec.template.metadata.annotations.checksum/config")
            for filter in ("info", "debug")
        }
        check(len(sums) == 2 and None not in sums, f"{chart}: a change of config does not change the pods")


def programs():
    """The programs take the configuration that each rendering gives them: the file, and the variables over it."""
    with tempfile.TemporaryDirectory() as folder:
        config, secret = pathlib.Path(folder, "config.yaml"), pathlib.Path(folder, "secret")
        secret.touch()
        stand_in = {"FDA_DATABASE__URL": "postgres://me:secret@db:5432/financial_data"}
        for rendered in sorted(OUT.iterdir()):
            docs = [doc for doc in yaml.load_all(rendered.read_text(), yaml.CSafeLoader) if doc]
            maps = {doc["metadata"]["name"]: doc.get("data", {}).get("config.yaml") for doc in docs if doc["kind"] == "ConfigMap"}
            for labels, pod in filter(None, map(pod_of, docs)):
                container = pod["containers"][0]
                source = next((v["configMap"]["name"] for v in pod.get("volumes", []) if v["name"] == "config"), None)
                if not source:
                    continue
                where = f"{rendered.stem}: {container['name']}"
                config.write_text(maps[source])
                env = {
                    item["name"]: item.get("value", stand_in.get(item["name"], "secret"))
                    for item in container.get("env", [])
                    if item["name"].startswith("FDA_")
                }
                # Files of volumes, which are not here.
                env = {name: secret if name.endswith("_FILE") else value for name, value in env.items()}
                args = [config if arg == "/etc/financial-data/config.yaml" else arg for arg in container["args"][:-1]]
                check(container["args"][-1] in ("run", "migrate"), f"{where}: runs {container['args']}")
                program = PROGRAMS / ("api" if container["name"] == "api" else "ingest")
                run = subprocess.run([program, *args, "config", "check"], env=env, capture_output=True, text=True, check=False)
                check(run.returncode == 0, f"{where}: the program refuses its configuration: {run.stderr}")


def labels():
    """Tags that CI makes, and worse; the image keeps the tag, labels get a legal form."""
    digits = "0123456789abcdef0123456789abcdef01234567"
    tags = [
        TAG,
        f"1.0.0-{'b' * 200}"[:128],
        f"1.0.0-{'b' * 56}-.dev.{digits}",
        f"1.0.0-{'b' * 55}_.-.dev.{digits}",
        "_1.0.0",
        "007",
        "1.0",
        "1.0.0-feature-x_y.dev.",
    ]
    for chart in CHARTS:
        everything = ("--values", ROOT / "charts" / chart / "ci" / "everything-values.yaml")
        for tag in tags:
            docs, text = render(chart, *everything, "--set", "image.digest=", "--set-string", f"image.tag={tag}")
            check(docs, f"{chart}: tag {tag}: {text}")
            check_all(chart, f"{chart}: tag {tag}", docs or [])
            image = find(docs or [], f"Deployment/r-{chart}:spec.template.spec.containers.0.image")
            check(image and image.endswith(f":{tag}"), f"{chart}: tag {tag}: the image is {image}")
            label = find(docs or [], f"Deployment/r-{chart}:metadata.labels.app%kubernetes%io/version")
            check(label and label in tag and len(label) > min(len(tag), 50) - 3, f"{chart}: tag {tag}: the label is {label}")
        for release in ("a" * 53, "b" * 46 + ".c-d", "x.y", f"{chart}"):
            docs, text = render(chart, *everything, release=release)
            check(docs, f"{chart}: release {release}: {text}")
            check_all(chart, f"{chart}: release {release}", docs or [])
        # Build metadata has a +, which no label may have.
        with tempfile.TemporaryDirectory() as folder:
            version = f"1.0.0+{'a' * 53}.-{digits}"
            packed = helm("package", ROOT / "charts" / chart, "--version", version, "--app-version", version, "-d", folder)
            check(packed.returncode == 0, f"{chart}: helm package: {packed.stderr}")
            docs, text = render(f"{folder}/{chart}-{version}.tgz")
            check(docs, f"{chart} {version}: {text}")
            check_all(chart, f"{chart} {version}", docs or [])


def refused(chart, why, *args):
    docs, text = render(chart, *args)
    check(docs is None and re.search(why, text), f"{chart}: {' '.join(map(str, args))} is not refused for {why!r}: {text[:300]}")


def refusals():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        for chart in CHARTS:
            folder = ROOT / "charts" / chart
            for source in ("values.yaml", "ci/everything-values.yaml", "ci/network-policy-values.yaml", "ci/placement-values.yaml"):
                values = load((folder / source).read_text())
                for path in maps(values):
                    # These are a pod's, for the API server to judge.
                    if path[:1] == ["affinity"] and len(path) > 1:
                        continue
                    broken = copy.deepcopy(values)
                    at = broken
                    for key in path:
                        at = at[key]
                    # Not a text either, so that free keys, as of annotations, refuse it as well.
                    at["unknownKey"] = {}
                    file.seek(0)
                    file.truncate()
                    file.write(json.dumps(broken))
                    file.flush()
                    refused(chart, "unknownKey|additional properties", "--values", file.name)
            digest = "sha256:abc"
            for why, arg in (
                ("image.digest", f"image.digest={digest}"),
                ("image.tag", "image.tag=a b"),
                ("image.pullPolicy", "image.pullPolicy=Sometimes"),
                ("log.format", "config.log.format=xml"),
                ("database.url", "config.database.url=mysql://x"),
                ("config.admin|admin", "config.admin.listen=0.0.0.0:1"),
                ("maxUnavailable", "podDisruptionBudget.maxUnavailable=0"),
                ("revisionHistoryLimit", "revisionHistoryLimit=many"),
                ("kubeVersion", "--kube-version=1.29.0"),
            ):
                refused(chart, why.replace(".", "[./]"), *([arg] if arg.startswith("--") else ["--set", arg]))
    sasl = ["--set", "config.kafka.security_protocol=sasl_ssl,keda.enabled=true"]
    refused("ingest", "replicaCount is 2, but kafka.partitions is 1", "--set", "replicaCount=2")
    refused("ingest", "keda.maxReplicaCount is 13, but kafka.partitions is 12", "--set", "kafka.partitions=12,keda.enabled=true,keda.maxReplicaCount=13")
    refused("ingest", "keda.minReplicaCount is 3, but at most 2", "--set", "kafka.partitions=2,keda.enabled=true,keda.minReplicaCount=3")
    refused("ingest", "minReplicaCount", "--set", "keda.minReplicaCount=0")
    refused("ingest", "keda.authenticationRef is needed", *sasl)
    refused("ingest", "terminationGracePeriodSeconds", "--set", "terminationGracePeriodSeconds=5")
    refused("ingest", "kafka[./]format", "--set", "config.kafka.format=xml")
    refused("ingest", "sasl_password", "--set", "config.kafka.sasl_password=secret")
    refused("api", "autoscaling.minReplicas is 9, above maxReplicas, 3", "--set", "autoscaling.enabled=true,autoscaling.minReplicas=9,autoscaling.maxReplicas=3")
    slow = "config.http.request_timeout"
    for read, answer in (("35s", "35s"), ("500ms", "1s"), ("2m", "1m 60s"), ("1h", "90min"), ("30s", "null"), ("20h", "1day")):
        want = f"readTimeout is {read}, not above {slow}, {'30s' if answer == 'null' else answer}"
        refused("api", want, "--set", f"nginx.readTimeout={read},{slow}={answer}")
    taken, text = render("api", "--set", f"nginx.readTimeout=2m,{slow}=1m 59s 999ms")
    check(taken, f"api: a readTimeout above the {slow} is refused: {text}")
    refused("api", "ingress[./]hosts", "--set", "ingress.enabled=true")
    refused("api", "parentRefs", "--set", "httpRoute.enabled=true")
    refused("api", "test[./]symbol", "--set", "test.symbol=a b")


def maps(value, path=()):
    """The paths of all maps, those in lists too."""
    if isinstance(value, dict):
        yield list(path)
        for key, item in value.items():
            yield from maps(item, (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from maps(item, (*path, index))


def schemas():
    """Every object of a schema says which keys it takes."""
    # Maps that are free by nature: a pod's affinity, and what Helm hands to subcharts.
    free = {"nodeAffinity", "podAffinity", "podAntiAffinity", "global"}
    read = {chart: json.loads((ROOT / "charts" / chart / "values.schema.json").read_text()) for chart in CHARTS}
    check(read["ingest"]["definitions"] == read["api"]["definitions"], "the definitions of the two schemas differ")

    def walk(chart, schema, path):
        if isinstance(schema, dict):
            if schema.get("type") == "object" and path[-1] not in free:
                more = schema.get("additionalProperties")
                typed = isinstance(more, dict) and more and "properties" not in schema
                check(more is False or typed, f"{chart}: values.schema.json: {'.'.join(path)} takes any key")
            for key, item in schema.items():
                walk(chart, item, (*path, key))
        if isinstance(schema, list):
            for index, item in enumerate(schema):
                walk(chart, item, (*path, str(index)))

    for chart, schema in read.items():
        walk(chart, schema, ("",))
        values = load((ROOT / "charts" / chart / "values.yaml").read_text())
        check(set(values) == set(schema["properties"]) - {"global"}, f"{chart}: keys of values.yaml and of the schema differ: {set(values) ^ set(schema['properties'])}")


def configuration():
    """The charts take each key that the programs take, and begin with production's."""
    # What the charts set themselves, and what is secret.
    own = {"admin.listen", "http.listen", "http.shutdown_timeout", "kafka.sasl_password"}
    own |= {"kafka.ssl_ca_file", "kafka.ssl_certificate_file", "kafka.ssl_key_file"}
    part, keys = None, {}
    for line in (ROOT / "README.md").read_text().splitlines():
        if heading := re.match(r"\| \*\*(both|ingest|api)\*\* \|", line):
            part = heading[1]
        elif part and line.startswith("| `"):
            keys.setdefault(part, set()).update(re.findall(r"`([a-z]+\.[a-z_]+)`", line.split("|")[1]))
        elif not line.startswith("|"):
            part = None
    check(set(keys) == {"both", "ingest", "api"}, f"README.md: found no table of keys: {keys}")
    production = load((ROOT / "config" / "prod.yaml").read_text())
    for chart in CHARTS:
        schema = json.loads((ROOT / "charts" / chart / "values.schema.json").read_text())
        sections = schema["properties"]["config"]["properties"]
        taken = {f"{section}.{key}" for section, item in sections.items() for key in item["properties"]}
        documented = (keys.get("both", set()) | keys.get(chart, set())) - own
        check(taken == documented, f"{chart}: keys of `config` in the schema only: {sorted(taken - documented)}; in README.md only: {sorted(documented - taken)}")
        values = load((ROOT / "charts" / chart / "values.yaml").read_text())
        want = {
            section: {key: value for key, value in items.items() if f"{section}.{key}" not in own}
            for section, items in production.items()
            if section in sections
        }
        check(values["config"] == want, f"{chart}: `config` is {values['config']}, config/prod.yaml has {want}")


def versions():
    """The charts' version of the program is the workspace's."""
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    for chart in CHARTS:
        found = load((ROOT / "charts" / chart / "Chart.yaml").read_text())["appVersion"]
        check(found == version, f"{chart}: appVersion is {found}, Cargo.toml has {version}")


def shared():
    one, other = ((ROOT / "charts" / chart / "templates" / "_shared.tpl").read_text() for chart in CHARTS)
    check(one == other, "_shared.tpl of the two charts differ")


for part in (shared, versions, schemas, configuration, renderings, programs, labels, refusals):
    before = counts["checks"], len(faults)
    part()
    print(f"{part.__name__}: {counts['checks'] - before[0]} checks, {len(faults) - before[1]} faults")
for fault in faults:
    print(f"  {fault}")
sys.exit(bool(faults))
