"""Renderings as they were looked at: cronjobs/golden."""

import difflib

from helm import CASES, CHART, OLD, objects, render

FOLDER = CHART / "golden"


def path_of(case):
    return FOLDER / f"{case}.yaml"


def stale(renderings):
    """Each rendering is its golden file; no file is left over."""
    for case, text in renderings.items():
        golden = path_of(case).read_text() if path_of(case).exists() else ""
        difference = difflib.unified_diff(golden.splitlines(), text.splitlines(), f"golden/{case}.yaml", "rendered", lineterm="", n=2)
        lines = list(difference)
        if lines:
            yield "\n    ".join([f"{case}: if this is meant: tests/chart --write", *lines[:40]])
    for file in FOLDER.iterdir():
        if file.stem not in CASES:
            yield f"{file.name} is of no rendering"


def other_helm(renderings):
    """Helm 3 renders the same objects as Helm 4."""
    def ordered(text):
        return sorted(objects(text), key=lambda item: (item["kind"], item["metadata"]["name"]))

    for case, text in renderings.items():
        if ordered(render(CASES[case], program=OLD)) != ordered(text):
            yield f"{case}: Helm 3 renders something else"
