"""Every object is what the API server takes: the schemas of the oldest and the newest Kubernetes, and those of the CRDs."""

import functools
import json
import re
import zipfile

import jsonschema
import referencing
import yaml

from helm import TOOLS, called, objects

# The oldest is what Chart.yaml asks for.
VERSIONS = ("1.31", "1.37")
DEFINITIONS = {
    ("keda.sh/v1alpha1", "ScaledObject"): "keda/keda.sh_scaledobjects.yaml",
    ("keda.sh/v1alpha1", "TriggerAuthentication"): "keda/keda.sh_triggerauthentications.yaml",
    ("monitoring.coreos.com/v1", "PodMonitor"): "prometheus/monitoring.coreos.com_podmonitors.yaml",
}


def problems(renderings):
    """What is wrong with these objects, in words; an object that looks the same in two renderings is looked at once."""
    different = {json.dumps(item): item for text in renderings.values() for item in objects(text)}
    for item in different.values():
        for version, validator in validators(item["apiVersion"], item["kind"]):
            for error in validator.iter_errors(item):
                yield f"{called(item)}: {version}: {error.json_path}: {error.message}"
        if item["kind"] == "ScaledObject":
            yield from triggers(item)


@functools.cache
def validators(api_version, kind):
    """(where the schema is from, validator) for objects of this kind."""
    definition = DEFINITIONS.get((api_version, kind))
    if definition:
        return [(definition.split("/")[0], of_definition(definition, api_version.split("/")[1]))]
    return [(f"Kubernetes {version}", of_kubernetes(version, api_version, kind)) for version in VERSIONS]


def of_kubernetes(version, api_version, kind):
    group, _, version_of_group = api_version.rpartition("/")
    name = "-".join(filter(None, [kind.lower(), group.split(".")[0], version_of_group]))
    return jsonschema.Draft202012Validator(load(version, name), registry=registry(version))


@functools.cache
def registry(version):
    return referencing.Resource.from_contents(load(version, "_definitions")) @ referencing.Registry()


def load(version, name):
    with zipfile.ZipFile(TOOLS / "kubernetes.zip") as archive:
        # Strict: refuses unknown fields, which a server only warns of.
        return json.loads(archive.read(f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict/{name}.json"))


def of_definition(file, version):
    definition = yaml.load((TOOLS / file).read_text(), Loader=yaml.CSafeLoader)
    [schema] = [each["schema"] for each in definition["spec"]["versions"] if each["name"] == version]
    return jsonschema.Draft202012Validator(strict(schema["openAPIV3Schema"]))


def strict(schema):
    """The schema that also refuses unknown fields, which a server drops in silence."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: strict(each) for name, each in value.items()}
        elif key in ("items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"):
            made[key] = strict(value)
        else:
            made[key] = value
    closed = "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields")
    if closed and "apiVersion" not in schema["properties"]:
        made.setdefault("additionalProperties", False)
    return made


SCALERS = {
    "aws-sqs-queue": "keda/aws_sqs_queue_scaler.go",
    "aws-cloudwatch": "keda/aws_cloudwatch_scaler.go",
    "kafka": "keda/kafka_scaler.go",
}


def triggers(item):
    """The CRD takes any metadata of a trigger; which there are is said by the tags in the scaler's source."""
    for trigger in item["spec"]["triggers"]:
        tags = re.findall(r'keda:"name=(\w+),([^"]*)"', (TOOLS / SCALERS[trigger["type"]]).read_text())
        known = {name for name, _ in tags}
        needed = {name for name, tag in tags if "optional" not in tag and "default=" not in tag}
        given = set(trigger["metadata"])
        for name in sorted(given - known):
            yield f"{called(item)}: {trigger['type']} has no metadata {name!r}"
        for name in sorted(needed - given):
            yield f"{called(item)}: {trigger['type']} needs metadata {name!r}"
