"""How a container of a job is started: command, environment and mounted files, for those who start it without a cluster."""

import argparse
import dataclasses
import json
import pathlib
import re
import sys
import time

from helm import objects, pod_of, render

SLOT = "metadata.labels['batch.kubernetes.io/job-name']"
INDEX = "metadata.labels['apps.kubernetes.io/pod-index']"


@dataclasses.dataclass
class Start:
    """What a kubelet would give to one container; elsewhere: NAME/KEY by path of what is not in the chart."""

    command: list
    environment: dict
    files: dict
    elsewhere: dict

    def into(self, folder):
        """The same with the files under `folder`, where they are written; paths in environment and files follow them."""
        def moved(path):
            return str(folder / path.lstrip("/"))

        def follow(text):
            return text.replace("/etc/lanner/", moved("/etc/lanner") + "/")

        for path in {**self.files, **self.elsewhere}:
            pathlib.Path(moved(path)).parent.mkdir(parents=True, exist_ok=True)
        files = {moved(path): follow(text) for path, text in self.files.items()}
        for path, text in files.items():
            pathlib.Path(path).write_text(text)
        environment = {name: follow(value) for name, value in self.environment.items()}
        return Start(self.command, environment, files, {moved(path): of for path, of in self.elsewhere.items()})

    def overrides(self):
        """(section, key, value) of each setting in the environment, without those that stand in files."""
        for name, value in self.environment.items():
            match = re.fullmatch(r"LANNER_(FOLLOW_LIMITS|[A-Z]+)_([A-Z_]+)", name)
            if match and name != "LANNER_JOB_NAME" and not name.endswith("_FILE"):
                yield match[1].lower(), match[2].lower(), value


def starts(items, slot=None):
    """A Start by job of what is rendered."""
    found = {(item["kind"], item["metadata"]["name"]): item for item in items}
    made = {}
    for item in filter(pod_of, items):
        [container] = pod_of(item)["spec"]["containers"]
        files, elsewhere = mounted(pod_of(item)["spec"], container, found)
        made[container["command"][1]] = Start(container["command"], environment(item, container, slot), files, elsewhere)
    return made


def environment(item, container, slot):
    made = {}
    for variable in container["env"]:
        if "value" in variable:
            made[variable["name"]] = variable["value"]
        elif variable["valueFrom"] == {"fieldRef": {"fieldPath": SLOT}}:
            # As the CronJob controller names its Jobs.
            minutes = int(time.time()) // 60 if slot is None else slot
            made[variable["name"]] = f"{item['metadata']['name']}-{minutes}"
        elif variable["valueFrom"] == {"fieldRef": {"fieldPath": INDEX}}:
            # The first of the pods of a StatefulSet.
            made[variable["name"]] = "0"
        else:
            raise ValueError(f"{variable['name']}: do not know what {variable['valueFrom']} becomes")
    return made


def mounted(pod, container, found):
    """(text by path, 'SECRET/KEY' by path) of the one projected volume."""
    files, elsewhere = {}, {}
    [volume], [mount] = pod["volumes"], container["volumeMounts"]
    for source in volume["projected"]["sources"]:
        [(kind, what)] = source.items()
        for entry in what["items"]:
            path = f"{mount['mountPath']}/{entry['path']}"
            own = found.get(("ConfigMap", what["name"]))
            if kind == "configMap" and own:
                files[path] = own["data"][entry["key"]]
            else:
                elsewhere[path] = f"{what['name']}/{entry['key']}"
    return files, elsewhere


def main(arguments):
    """Prints how a job is started."""
    parser = argparse.ArgumentParser(
        prog="tests/chart --command",
        description="Prints as JSON: command, environment, files (by path), elsewhere (path: NAME/KEY of what is not in the chart).")
    parser.add_argument("job", help="extract-organizations, collect-rooms, merge-newest, serve-writes, build-read-model, serve-reads, follow-limits, "
                                    "rerun")
    parser.add_argument("--values", action="append", default=[], metavar="FILE", help="as helm's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as helm's")
    parser.add_argument("--set-string", action="append", default=[], metavar="KEY=VALUE", help="as helm's")
    parser.add_argument("--slot", type=int, metavar="MINUTES", help="instant of the run, in minutes since 1970 [default: now]")
    parser.add_argument("--into", type=pathlib.Path, metavar="FOLDER", help="write the files there; elsewhere are yours to write")
    asked = parser.parse_args(arguments)
    found = starts(objects(render(asked.values, asked.set, asked.set_string)), asked.slot)
    if asked.job not in found:
        sys.exit(f"chart: no job {asked.job} is rendered; there are {', '.join(sorted(found))}")
    start = found[asked.job]
    if asked.into:
        start = start.into(asked.into.resolve())
    print(json.dumps(dataclasses.asdict(start), indent=2))
