"""Renderings as they were looked at: cronjobs/golden."""

import difflib

from helm import CASES, CHART, OLD, notes, objects, render

FOLDER = CHART / "golden"


def derived(renderings):
    """(path, text) of each golden file: a rendering, and what helm tells after an installation."""
    for case, text in renderings.items():
        yield FOLDER / f"{case}.yaml", text
        yield FOLDER / f"{case}.notes.txt", notes(CASES[case])


def stale(renderings):
    """Each rendering is its golden file; no file is left over."""
    over = set(FOLDER.iterdir())
    for path, text in derived(renderings):
        golden = path.read_text() if path.exists() else ""
        over.discard(path)
        lines = list(difflib.unified_diff(golden.splitlines(), text.splitlines(), path.name, "rendered", lineterm="", n=2))
        if lines:
            yield "\n    ".join(["if this is meant: tests/chart --write", *lines[:40]])
    for path in over:
        yield f"{path.name} is of no rendering"


def other_helm(renderings):
    """Helm 3 renders the same objects as Helm 4."""
    def ordered(text):
        return sorted(objects(text), key=lambda item: (item["kind"], item["metadata"]["name"]))

    for case, text in renderings.items():
        if ordered(render(CASES[case], program=OLD)) != ordered(text):
            yield f"{case}: Helm 3 renders something else"
