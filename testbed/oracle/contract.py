"""Asks a server every example of its own OpenAPI document and holds each answer against the document.

    contract.py BASE

For each operation: the request with the examples of its required parameters, then one more for each optional parameter
with its example beside them. An answer must be a success whose media type the operation has; JSON must fit the schema,
which knows all keys. Prints a line an answer: the operation, the parameter that was added or -, the status, the target.
"""

import json
import sys
import urllib.parse
import urllib.request

from jsonschema import Draft202012Validator


def get(base: str, target: str):
    with urllib.request.urlopen(base + target, timeout=30) as response:
        return response.status, response.headers.get_content_type(), response.read()


def text(value) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def target(path: str, parameters) -> str:
    pairs = []
    for parameter in parameters:
        value = text(parameter["example"])
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", urllib.parse.quote(value, safe=""))
        else:
            pairs.append((parameter["name"], value))
    return path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")


def main() -> None:
    (base,) = sys.argv[1:]
    document = json.loads(get(base, "/openapi.json")[2])
    components = {"components": document["components"]}
    for path, item in document["paths"].items():
        operation = item["get"]
        parameters = operation.get("parameters", [])
        required = [p for p in parameters if p["required"]]
        optional = [p for p in parameters if not p["required"] and "example" in p]
        for added in [None, *optional]:
            asked = target(path, required + ([added] if added else []))
            status, media_type, body = get(base, asked)
            content = operation["responses"][str(status)].get("content", {})
            if content and media_type not in content:
                raise SystemExit(f"{asked}: {media_type} is none of {list(content)}")
            if not content and body:
                raise SystemExit(f"{asked}: a body that the document does not know")
            if media_type == "application/json" and content:
                schema = content[media_type]["schema"] | components
                error = next(Draft202012Validator(schema).iter_errors(json.loads(body)), None)
                if error is not None:
                    raise SystemExit(f"{asked}: {error.json_path}: {error.message}")
            print(operation["operationId"], added["name"] if added else "-", status, asked)


if __name__ == "__main__":
    main()
