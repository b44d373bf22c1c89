"""Helm, and the renderings that all checks look at."""

import functools
import pathlib
import subprocess

import yaml

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
TOOLS = ROOT / "target/tools/chart"
CHART = ROOT / "cronjobs"
OLD, NEW = TOOLS / "helm-3/helm", TOOLS / "helm-4/helm"

# In the form of Terraform's output helm_values.
TERRAFORM = HERE / "values/terraform.json"

# Each is rendered, compared with its golden file, and held against everything else.
CASES = {
    "default": [],
    "staging": [CHART / "values-staging.yaml", TERRAFORM],
    "production": [CHART / "values-production.yaml", TERRAFORM],
    "everything": [HERE / "values/everything.yaml"],
    "existing-chat": [HERE / "values/existing-chat.yaml"],
    "message-path": [HERE / "values/message-path.yaml"],
    "message-path-small": [HERE / "values/message-path-small.yaml"],
}
# Those in which the message path is on.
WITH_MESSAGES = {"message-path", "message-path-small"}
# Those in which limits are followed.
WITH_FOLLOWING = {"message-path"}


class Refused(Exception):
    """Helm did not render; the words are its own."""


def run(*arguments, program=NEW, stdin=None):
    """What Helm prints."""
    done = subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Refused((done.stderr or done.stdout).strip())
    return done.stdout


def render(files=(), sets=(), texts=(), program=NEW, values=None):
    """The chart as text; `values` is a document besides the files."""
    arguments = [f"--values={file}" for file in files]
    arguments += [f"--set={value}" for value in sets] + [f"--set-string={value}" for value in texts]
    if values is not None:
        arguments.append("--values=-")
    stdin = None if values is None else yaml.safe_dump(values)
    return run("template", "lanner", CHART, "--namespace=lanner", *arguments, program=program, stdin=stdin)


def notes(files):
    """What helm tells after an installation. Only Helm 4 does so without a cluster."""
    arguments = [f"--values={file}" for file in files]
    told = run("install", "lanner", CHART, "--namespace=lanner", "--dry-run=client", *arguments)
    return told.split("\nNOTES:\n")[1]


@functools.cache
def objects(text):
    """The objects of a rendering; not to be changed."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def called(item):
    """How a problem names an object."""
    return f"{item['kind']} {item['metadata']['name']}"


def pod_of(item):
    """The pod of an object that has one, else None."""
    if item["kind"] == "Pod":
        return item
    spec = item.get("spec", {})
    if item["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec.get("template")
