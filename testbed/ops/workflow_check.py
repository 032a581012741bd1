"""What no linter knows of the workflows: pins, order of jobs, that each job is a Makefile target, and that Renovate
raises the version wherever it stands.

Prints each fault; exits 1 when there is one.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

PIPELINE = Path(".github/workflows/app_code_cicd.yml")
CHECKS = {
    "version", "yamllint", "fmt", "clippy", "rustdoc", "cargo-deny", "cargo-audit", "image-misconfiguration",
}
TESTS = {"unit-tests", "system-tests", "integration-tests"}
# Each job and those that must have passed before it.
ORDER = {
    "build": CHECKS,
    "image-vulnerabilities": {"build"},
    **{test: {"image-vulnerabilities"} for test in TESTS},
    "push-app-image-to-registry": TESTS | {"ops"},
    "push-nginx-image-to-registry": TESTS | {"ops"},
}

faults = []


def pins(files):
    """Each action is one commit, the same everywhere, with its version beside it."""
    seen = {}
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if not (found := re.match(r"\s*(?:- )?uses: *(\S+)(.*)", line)):
                continue
            action, comment = found.groups()
            where = f"{file}:{number}: {action}"
            if action.startswith("./"):
                if not Path(action, "action.yml").is_file():
                    faults.append(f"{where}: no such action")
                continue
            name, _, commit = action.partition("@")
            if not re.fullmatch(r"[0-9a-f]{40}", commit):
                faults.append(f"{where}: not a full commit")
            if not re.fullmatch(r" # v\d+\.\d+\.\d+", comment):
                faults.append(f"{where}: no version such as `# v1.2.3` after it")
            if seen.setdefault(name, commit + comment) != commit + comment:
                faults.append(f"{where}: pinned otherwise elsewhere")


def targets(where, steps, only_make):
    """`only_make`: every command is `make TARGET`. A target is a rule of the Makefile; `ci-NAME` is a job of job.sh."""
    names = subprocess.run(["testbed/ops/job.sh"], capture_output=True, text=True, check=True).stdout.split()
    for step in steps:
        command = step.get("run", "").strip()
        found = re.fullmatch(r"make ([a-z-]+)", command)
        if not found:
            if command and only_make:
                faults.append(f"{where}: `{command.splitlines()[0]}` is not `make TARGET`")
            continue
        target = found[1]
        made = subprocess.run(["make", "--dry-run", target], capture_output=True, text=True)
        if made.returncode:
            faults.append(f"{where}: {made.stderr.strip()}")
        if target.startswith("ci-") and target.removeprefix("ci-") not in names:
            faults.append(f"{where}: testbed/ops/job.sh has no {target.removeprefix('ci-')}")


def rights(file, workflow):
    if workflow.get("permissions") != {}:
        faults.append(f"{file}: `permissions: {{}}` is missing at the top")
    for name, job in workflow["jobs"].items():
        for key in ("permissions", "timeout-minutes"):
            if key not in job:
                faults.append(f"{file}: {name}: no {key}")


def before(jobs, name):
    """All jobs that must pass before `name`."""
    needs = jobs[name].get("needs", [])
    needs = {needs} if isinstance(needs, str) else set(needs)
    return needs.union(*(before(jobs, other) for other in needs))


def order(workflow):
    jobs = workflow["jobs"]
    for name, needed in ORDER.items():
        if name not in jobs:
            faults.append(f"{PIPELINE}: no job {name}")
        elif missing := needed - before(jobs, name):
            faults.append(f"{PIPELINE}: {name} does not wait for {', '.join(sorted(missing))}")
    for name, job in jobs.items():
        if not name.startswith("push-"):
            continue
        for step in job["steps"]:
            if step.get("if") != "${{ !env.ACT }}":
                faults.append(f"{PIPELINE}: {name}: a step without `if: ${{{{ !env.ACT }}}}`: {step['uses']}")


def versions(workflow):
    """A chart's default tag is its appVersion."""
    version = workflow["env"]["IMAGE_VERSION"]
    for chart in sorted(Path("charts").glob("*/Chart.yaml")):
        if (app := yaml.safe_load(chart.read_text())["appVersion"]) != version:
            faults.append(f"{chart}: appVersion is {app}, but IMAGE_VERSION is {version}")


def raised(workflow):
    """What Renovate raises is all that must be IMAGE_VERSION. Of each pattern it takes a file's first match."""
    found = []
    for entry in json.loads(Path("renovate.json").read_text())["bumpVersions"]:
        for pattern in entry["matchStrings"]:
            pattern = pattern.replace("(?<", "(?P<")
            for file in (file for glob in entry["filePatterns"] for file in sorted(Path().glob(glob))):
                found += [(str(file), match["version"]) for match in [re.search(pattern, file.read_text())] if match]
    crates = re.search(r"^members = (.*)$", Path("Cargo.toml").read_text(), re.MULTILINE)[1]
    places = [str(PIPELINE), *map(str, Path("charts").glob("*/Chart.yaml")), "Cargo.toml"]
    places += ["Cargo.lock"] * len(json.loads(crates))
    version = workflow["env"]["IMAGE_VERSION"]
    if sorted(found) != sorted((place, version) for place in places):
        faults.append(f"renovate.json: bumpVersions finds {found}, and the version is {version} in {places}")


def main():
    workflows = sorted(Path(".github/workflows").glob("*.yml"))
    actions = sorted(Path(".github/actions").glob("*/action.yml"))
    pins(workflows + actions)
    for file in workflows:
        workflow = yaml.safe_load(file.read_text())
        rights(file, workflow)
        for name, job in workflow["jobs"].items():
            targets(f"{file}: {name}", job["steps"], only_make=True)
        if file == PIPELINE:
            order(workflow)
            versions(workflow)
            raised(workflow)
    for file in actions:
        targets(str(file), yaml.safe_load(file.read_text())["runs"]["steps"], only_make=False)
    print("\n".join(faults) or f"{len(workflows)} workflows, {len(actions)} actions: no fault")
    sys.exit(bool(faults))


main()
