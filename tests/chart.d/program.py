"""Lanner itself: which jobs and settings it has, and whether it takes what the chart renders."""

import functools
import json
import os
import pathlib
import subprocess
import tempfile

from helm import CHART, ROOT, WITH_FOLLOWING, WITH_MESSAGES, called, objects, pod_of
from start import starts

BINARY = pathlib.Path(os.environ.get("LANNER_BINARY", ROOT / "target/debug/lanner"))

# The jobs of the message path, which is off by default.
OF_MESSAGES = {"serve-writes", "build-read-model", "serve-reads"}
# What follows it, off by default, too. It is in shards, whose pods have numbers.
OF_FOLLOWING = {"follow-limits"}
# What the chart runs when somebody asks for it, besides jobs.
BY_HAND = {"rerun", "operate"}


class Missing(Exception):
    """There is no program to ask."""


def ask(*arguments, environment=None):
    """What the program prints as JSON; its own words when it refuses."""
    if not BINARY.exists():
        raise Missing(f"there is no {BINARY.relative_to(ROOT) if BINARY.is_relative_to(ROOT) else BINARY}")
    done = subprocess.run([BINARY, *arguments, "--json"], capture_output=True, text=True, timeout=60, env=environment or {})
    if done.returncode != 0:
        raise ValueError(f"exit code {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


@functools.cache
def keys():
    """Every setting as the program explains it, by section and name."""
    sections = ask("settings")["settings"]
    return {section: {key["key"].split(".", 1)[1]: key for key in ask("settings", f"--explain={section}")["keys"]}
            for section in sections}


def jobs(renderings):
    """Each job of the program has its template, of the kind that fits its shape; nothing else runs, of the message path only where it is on."""
    kinds = {"runs_once": "CronJob", "runs_on": "Deployment"}
    expected = {job["name"]: kinds[job["shape"]] for job in ask("jobs")} | dict.fromkeys(OF_FOLLOWING, "StatefulSet")
    for name in expected:
        if not (CHART / f"templates/{name}.yaml").exists():
            yield f"job {name} has no templates/{name}.yaml"
    for case, text in renderings.items():
        off = (set() if case in WITH_MESSAGES else OF_MESSAGES) | (set() if case in WITH_FOLLOWING else OF_FOLLOWING)
        wanted = {name: kind for name, kind in expected.items() if name not in off}
        found = {}
        for item in filter(pod_of, objects(text)):
            command = pod_of(item)["spec"]["containers"][0]["command"]
            component = pod_of(item)["metadata"]["labels"]["app.kubernetes.io/component"]
            if component not in BY_HAND:
                found[command[1]] = item["kind"]
        if found != wanted:
            yield f"{case}: the chart runs {found}, the job table is {wanted}"


def settings(renderings):
    """The program takes the settings file with each job's environment, and every value arrives."""
    for case, text in renderings.items():
        for job, start in starts(objects(text)).items():
            with tempfile.TemporaryDirectory() as folder:
                start = start.into(pathlib.Path(folder))
                for path in start.elsewhere:
                    pathlib.Path(path).write_text("mysql://nobody:secret@127.0.0.1:1/nothing\n")
                try:
                    taken = ask("settings", environment=start.environment)["settings"]
                except ValueError as error:
                    yield f"{case}: {job}: {error}"
                    continue
            for section, name, value in start.overrides():
                if str(taken[section][name]) != value:
                    yield f"{case}: {job}: {section}.{name} is {taken[section][name]}, not {value}"
            if "secret@" in json.dumps(taken):
                yield f"{case}: {job}: an address is shown"


def stopping(renderings):
    """A pod has longer to stop than the program may take: 10 s, whatever workers.stop_grace_ms is, after what comes before SIGTERM."""
    _, grace_max = keys()["workers"]["stop_grace_ms"]["range"]
    needed = max(10, grace_max / 1000 + 2)
    for case, text in renderings.items():
        for item in filter(pod_of, objects(text)):
            spec = pod_of(item)["spec"]
            before = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            given = spec["terminationGracePeriodSeconds"] - before
            if given < needed:
                yield f"{case}: {called(item)} has {given} s to stop, the program may take {needed:.0f} s"
