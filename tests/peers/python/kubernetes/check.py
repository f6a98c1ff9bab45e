"""Reads manifests (YAML) from stdin, checks them strictly, prints them and what is wrong with them as JSON.

Usage: check.py DEFINITIONS VERSION...

DEFINITIONS is a folder of CustomResourceDefinitions; VERSIONS are Kubernetes' (1.37). Prints {"documents": [...], "faults":
[{"document": its index, "version": ..., "at": path in it, "fault": text}]}. A field that the schema does not know is a fault.
"""

import functools
import json
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Else the definitions of a version, two megabytes, are read anew for each document.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def strict(schema):
    """The schema of a custom resource, with fields it does not know refused as the API server would drop them."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    known = isinstance(schema.get("properties"), dict) and "type" in schema
    if known and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


def definitions(folder):
    """Validators of custom resources by apiVersion and kind."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.yaml")):
        spec = yaml.load(path.read_text(), Loader=LOADER)["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            found[key] = jsonschema.Draft202012Validator(schema)
    return found


def faults_of(document, version, custom):
    validator = custom.get((document.get("apiVersion"), document.get("kind")))
    try:
        if validator is None:
            kubernetes_validate.validate(document, version, strict=True)
            return
        yield from (("/".join(map(str, error.path)), error.message) for error in validator.iter_errors(document))
        # A definition leaves metadata to the server: it is that of any other object.
        bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": document["metadata"]}
        kubernetes_validate.validate(bare, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield "/".join(map(str, error.path)), error.message
    except kubernetes_validate.SchemaNotFoundError as error:
        yield "", error.message


custom = definitions(sys.argv[1])
documents = [document for document in yaml.load_all(sys.stdin.buffer, Loader=LOADER) if document]
faults = [
    {"document": index, "version": version, "at": at, "fault": fault}
    for version in sys.argv[2:]
    for index, document in enumerate(documents)
    for at, fault in faults_of(document, version, custom)
]
json.dump({"documents": documents, "faults": faults}, sys.stdout)
