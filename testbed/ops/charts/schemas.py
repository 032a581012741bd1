"""Writes JSON schemas for kubeconform's strict mode: `schemas.py OUT CRDS.yaml VERSION…`.

The Kubernetes ones are those of the package kubernetes-validate; those of custom resources are made from their CRDs.
"""

import json
import pathlib
import sys

import kubernetes_validate
import yaml


def strict(schema):
    """The schema with unknown keys refused, as the API server refuses them in strict mode."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) for key, value in schema.items()}
    # A property may itself be called `properties`: only a mapping under an object schema counts.
    if out.get("type") == "object" and isinstance(out.get("properties"), dict):
        if not out.get("x-kubernetes-preserve-unknown-fields"):
            out.setdefault("additionalProperties", False)
    if out.pop("x-kubernetes-int-or-string", False):
        out.pop("type", None)
        out["type"] = ["integer", "string"]
    return out


def main():
    out, crds, versions = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    shipped = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    custom = {}
    for crd in yaml.load_all(crds.read_text(), yaml.CSafeLoader):
        crd = crd and crd["spec"]
        for version in crd["versions"] if crd else []:
            # As kubeconform names it: the kind, the first part of the group, the version.
            name = f'{crd["names"]["kind"]}-{crd["group"].split(".")[0]}-{version["name"]}.json'.lower()
            custom[name] = strict(version["schema"]["openAPIV3Schema"])
    for version in versions:
        folder = out / f"v{version}-standalone-strict"
        folder.mkdir(parents=True, exist_ok=True)
        source = shipped / f"v{version}-local-strict"
        if not source.is_dir():
            sys.exit(f"kubernetes-validate has no schemas of {version}")
        for file in source.glob("*.json"):
            schema = json.loads(file.read_text().replace('"/api/_definitions.json#', '"_definitions.json#'))
            # An absolute $id would send every $ref to the network.
            schema.pop("$id", None)
            (folder / file.name).write_text(json.dumps(schema))
        for name, schema in custom.items():
            (folder / name).write_text(json.dumps(schema))


main()
