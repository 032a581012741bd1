"""Checks rules, their tests, runbooks, dashboards and docs/monitoring.md against what the running programs expose.

    check.py EXPOSITION…

Each EXPOSITION is a file with the text of one program's /metrics. Prints every fault; exits 1 when there is one.
"""

import itertools
import json
import re
import sys
from pathlib import Path

import promql_parser as promql
import yaml

ROOT = Path(__file__).resolve().parents[3]
# What Prometheus itself adds: a metric for each target, and labels.
OF_PROMETHEUS = {"up"}
TARGET_LABELS = {"job", "namespace", "instance"}
# A status is a series only once it was answered.
OPEN_LABELS = {"status", "route", "method"}
SEVERITIES = {"critical", "warning"}

faults = []


def fault(where, text):
    if isinstance(where, Path):
        where = where.relative_to(ROOT)
    faults.append(f"{where}: {text}")


def exposition(files):
    """Families with their types, and series: name -> label -> values."""
    types, series = {}, {}
    for file in files:
        for line in Path(file).read_text().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                types[name] = kind
            elif line and not line.startswith("#"):
                name, labels = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ", line).groups()
                seen = series.setdefault(name, {})
                for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""):
                    seen.setdefault(label, set()).add(value)
    return types, series


class Queries:
    """Checks expressions: all metrics exist, and so do the labels they are asked for."""

    def __init__(self, series):
        self.series = series
        self.recorded = {}

    def check(self, where, text):
        # Grafana puts these in; any duration and any value parse.
        text = text.replace("$__rate_interval", "5m").replace("$__range", "1h")
        text = re.sub(r"\$\{?\w+\}?", "x", text)
        try:
            tree = promql.parse(text)
        except ValueError as error:
            return fault(where, f"{text!r} is no PromQL: {error}")
        labels = set()
        for selector in self.walk(tree):
            labels |= self.selector(where, selector)
        for node in self.nodes(tree):
            for label in self.grouped(node):
                if label not in labels:
                    fault(where, f"{text!r} groups by {label}, which none of its metrics has")

    def selector(self, where, selector):
        matchers = selector.matchers.matchers
        name = selector.name or next((m.value for m in matchers if m.name == "__name__"), None)
        if name in OF_PROMETHEUS:
            return TARGET_LABELS
        if name in self.recorded:
            known = {label: None for label in self.recorded[name]}
        elif name in self.series:
            known = self.series[name]
        else:
            fault(where, f"no program exposes {name} and no rule records it")
            return TARGET_LABELS
        for matcher in matchers:
            if matcher.name in TARGET_LABELS or matcher.name == "__name__":
                continue
            if matcher.name not in known:
                fault(where, f"{name} has no label {matcher.name}")
            elif matcher.op == promql.MatchOp.Equal and matcher.name not in OPEN_LABELS:
                values = known[matcher.name]
                if values is not None and matcher.value not in values:
                    fault(where, f"{name} has no {matcher.name}={matcher.value!r}, only {sorted(values)}")
        return TARGET_LABELS | set(known)

    def walk(self, tree):
        for node in self.nodes(tree):
            if isinstance(node, promql.VectorSelector):
                yield node
            elif isinstance(node, promql.MatrixSelector):
                yield node.vector_selector

    def nodes(self, node):
        yield node
        children = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "param")]
        for child in itertools.chain(children, getattr(node, "args", None) or []):
            if isinstance(child, promql.Expr):
                yield from self.nodes(child)

    @staticmethod
    def grouped(node):
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql.AggregateExpr) and modifier:
            if modifier.type == promql.AggModifierType.By:
                return modifier.labels
        if isinstance(node, promql.BinaryExpr) and modifier and modifier.matching:
            if modifier.matching.type == promql.LabelModifierType.Include:
                return modifier.matching.labels
        return []


def rules(queries):
    """Checks every rule; returns the alerts: name -> (file, rule)."""
    alerts, found = {}, []
    for file in sorted(ROOT.glob("charts/*/rules/*.yaml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            found += [(file, rule) for rule in group["rules"]]
    for _, rule in found:
        if "record" in rule:
            # Ours are all by (namespace, job), or made from such.
            queries.recorded[rule["record"]] = {"namespace", "job"}
    for file, rule in found:
        queries.check(file, rule["expr"])
        if "alert" not in rule:
            continue
        name = rule["alert"]
        if name in alerts:
            fault(file, f"two alerts are named {name}")
        alerts[name] = (file, rule)
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            fault(file, f"{name} has no severity of {sorted(SEVERITIES)}")
        for key in ("summary", "description", "runbook_url"):
            if not rule.get("annotations", {}).get(key):
                fault(file, f"{name} has no annotation {key}")
    if not alerts:
        fault("charts/*/rules", "no alert found")
    return alerts


def tests(alerts):
    fires, rests = set(), set()
    for file in sorted((ROOT / "testbed/ops/rules").glob("*.yaml")):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                name = case["alertname"]
                if name not in alerts:
                    fault(file, f"tests {name}, which is no alert")
                (fires if case.get("exp_alerts") else rests).add(name)
    for name, (file, _) in alerts.items():
        if name not in fires:
            fault(file, f"no test in testbed/ops/rules makes {name} fire")
        if name not in rests:
            fault(file, f"no test in testbed/ops/rules leaves {name} at rest")


def runbooks(alerts, queries):
    folder = ROOT / "docs/runbooks"
    expected = {}
    for name, (file, rule) in alerts.items():
        kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
        page = folder / f"{kebab}.md"
        expected[page] = name
        if rule["annotations"].get("runbook_url") != f"docs/runbooks/{kebab}.md":
            fault(file, f"the runbook_url of {name} is not docs/runbooks/{kebab}.md")
        if not page.is_file():
            fault(page, "is missing")
            continue
        text = page.read_text()
        if not text.startswith(f"# {name}\n"):
            fault(page, f"does not begin with its alert's name, {name}")
        for part in ("## Meaning", "## Check", "## Act"):
            if f"\n{part}\n" not in text:
                fault(page, f"has no part {part!r}")
    for page in sorted(folder.glob("*.md")):
        if page not in expected:
            fault(page, "belongs to no alert")
    for page in [*expected, ROOT / "docs/monitoring.md"]:
        if page.is_file():
            for query in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL):
                queries.check(page, query)


def dashboards(queries):
    files = sorted(ROOT.glob("charts/*/dashboards/*.json"))
    if not files:
        fault("charts/*/dashboards", "no dashboard found")
    uids = [json.loads(file.read_text())["uid"] for file in files]
    if len(set(uids)) != len(uids):
        fault("charts/*/dashboards", f"uids are not unique: {uids}")
    for file in files:
        board = json.loads(file.read_text())
        variables = {variable["name"]: variable for variable in board["templating"]["list"]}
        if variables.get("datasource", {}).get("type") != "datasource":
            fault(file, "has no variable `datasource` of the type datasource")
        for variable in variables.values():
            if variable["type"] == "query":
                if variable["datasource"].get("uid") != "${datasource}":
                    fault(file, f"the variable {variable['name']} does not use the variable `datasource`")
                metric = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
                if metric:
                    queries.check(file, f"count by ({metric[2]}) ({metric[1]})")
                else:
                    fault(file, f"the variable {variable['name']} asks {variable['definition']!r}")
        known = {*variables, "__rate_interval", "__range"}
        for used in set(re.findall(r"\$\{?(\w+)\}?", json.dumps(board["panels"]))) - known:
            fault(file, f"uses the variable {used}, which is not defined")
        ids, taken = set(), set()
        for panel in board["panels"]:
            where = f"{file.relative_to(ROOT)}: {panel['title']!r}"
            if panel["id"] in ids:
                fault(where, f"the id {panel['id']} is taken")
            ids.add(panel["id"])
            at = panel["gridPos"]
            cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
            if cells & taken or at["x"] + at["w"] > 24:
                fault(where, "overlaps another panel, or the edge")
            taken |= cells
            if panel["type"] == "row":
                continue
            if not panel["fieldConfig"]["defaults"].get("unit"):
                fault(where, "has no unit")
            if not panel["targets"]:
                fault(where, "asks nothing")
            for part in [panel, *panel["targets"]]:
                if part["datasource"].get("uid") != "${datasource}":
                    fault(where, "does not use the variable `datasource`")
            for target in panel["targets"]:
                queries.check(where, target["expr"])


def catalogue(types, series):
    """docs/monitoring.md lists every metric with its labels, and no other."""
    page = ROOT / "docs/monitoring.md"
    text = page.read_text() if page.is_file() else ""
    rows = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in re.findall(
        r"^\| `([a-z_]+)` \| (\w+) \|(.*?)\| ", text, re.MULTILINE)}
    for name, kind in types.items():
        if name.startswith("process_"):
            continue
        sample = f"{name}_count" if kind == "histogram" else name
        exposed = (kind, set(series.get(sample, {})))
        if rows.get(name) != exposed:
            fault(page, f"{name} is exposed as {exposed}, listed as {rows.get(name)}")
    for name in rows.keys() - types.keys():
        fault(page, f"lists {name}, which no program exposes")


def main(files):
    if not files:
        sys.exit(__doc__)
    types, series = exposition(files)
    queries = Queries(series)
    alerts = rules(queries)
    tests(alerts)
    runbooks(alerts, queries)
    dashboards(queries)
    catalogue(types, series)
    for text in faults:
        print(text)
    if faults:
        sys.exit(1)
    panels = sum(len(json.loads(f.read_text())["panels"]) for f in ROOT.glob("charts/*/dashboards/*.json"))
    print(f"{len(types)} metrics, {len(alerts)} alerts with tests and runbooks, {panels} panels and rows: no fault")


main(sys.argv[1:])
