"""Runs the checks of the chart, or writes what is derived."""

import concurrent.futures
import sys
import tomllib

import yaml

import golden
import kubernetes
import live
import live_messages
import program
import readme
import refusals
import restricted
import schema
import start
import wiring
from helm import CASES, CHART, NEW, OLD, ROOT, Refused, objects, render, run


def write():
    """Makes anew what is derived."""
    schema.FILE.write_text(schema.derived())
    (CHART / "README.md").write_text(readme.derived())
    golden.FOLDER.mkdir(exist_ok=True)
    for path, text in golden.derived({case: render(files) for case, files in CASES.items()}):
        path.write_text(text)


def lint():
    """Both Helms find nothing to complain about."""
    for helm in (NEW, OLD):
        for files in CASES.values():
            try:
                run("lint", "--strict", "--quiet", CHART, *(f"--values={file}" for file in files), program=helm)
            except Refused as refusal:
                yield f"{helm.parent.name}: {[file.name for file in files]}: {refusal}"


def version():
    """The chart is for the program beside it."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    if chart["appVersion"] != workspace:
        yield f"Chart.yaml: appVersion is {chart['appVersion']}, the program is {workspace}"


def of_all(check, renderings):
    """What a check of objects says of each rendering."""
    for case, text in renderings.items():
        for words in check(objects(text)):
            yield f"{case}: {words}"


def checks(renderings):
    """(name, problems) of every check; nothing is done before problems are asked for."""
    yield "charts are linted", lint()
    yield "renderings are the golden ones", golden.stale(renderings)
    yield "Helm 3 renders the same", golden.other_helm(renderings)
    yield "Kubernetes, KEDA and Prometheus take the objects", kubernetes.problems(renderings)
    yield "objects fit together", of_all(wiring.problems, renderings)
    yield "network is denied first", of_all(wiring.policies, renderings)
    yield "pods are restricted", of_all(restricted.problems, renderings)
    yield "the check of pods sees", restricted.blind_spots(objects(renderings["everything"]))
    yield "wrong values are refused", refusals.problems()
    yield "the schema is closed", schema.open_places()
    yield "README tells of all values", readme.stale()
    yield "the version is the program's", version()
    yield "each job has its template", program.jobs(renderings)
    yield "the program takes the settings", program.settings(renderings)
    yield "the schema knows the program's settings", schema.stale()
    yield "pods have time to stop", program.stopping(renderings)


def main(word=""):
    """Runs the checks with this word in their name."""
    renderings = {case: render(files) for case, files in CASES.items()}
    asked = [(name, problems) for name, problems in checks(renderings) if word in name]
    print("NOT RUN: chart on a cluster: needs an API server with KEDA, which cannot be installed from the packages that are reached here")
    report(asked)


def report(asked):
    """Exit code 0 when each check passed, or said why it did not run."""
    passed = failed = skipped = 0
    # Two at a time: one waits for Helm while the other works.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, found in [(name, pool.submit(list, problems)) for name, problems in asked]:
            try:
                found = found.result()
            except program.Missing as missing:
                print(f"NOT RUN: chart, {name}: {missing}")
                skipped += 1
                continue
            print(f"chart: {'FAILED' if found else 'ok'}  {name}")
            for words in found:
                print(f"    {words}")
            passed, failed = passed + (not found), failed + bool(found)
    print(f"chart: {passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(0 if passed + skipped and not failed else 1)


def command(arguments):
    """What tests/chart is asked for."""
    match arguments:
        case []:
            main()
        case ["--write"]:
            write()
        case ["--live"]:
            report([("containers run on real servers", live.problems()), live_messages.check()])
        case ["--command", *rest]:
            start.main(rest)
        case [word] if not word.startswith("-"):
            main(word)
        case _:
            sys.exit("chart: tests/chart --help")


if __name__ == "__main__":
    try:
        command(sys.argv[1:])
    except (Refused, program.Missing) as error:
        sys.exit(f"chart: {error}")
