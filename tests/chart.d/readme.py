"""The table of values in cronjobs/README.md, made from the comments in values.yaml."""

import json
import re

import yaml

from helm import CHART

BEGIN, END = "<!-- values: made by tests/chart --write -->", "<!-- end of values -->"


def derived():
    """README.md with its table made anew."""
    text = (CHART / "README.md").read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}{END}{after}"


def stale():
    """README.md is as it would be written; every value has a comment."""
    for key, _, comment, leaf in entries():
        if not comment and (leaf or "." not in key):
            yield f"values.yaml: {key} has no comment"
    if derived() != (CHART / "README.md").read_text():
        yield "README.md does not fit values.yaml: tests/chart --write"


def table():
    lines = []
    for key, value, comment, leaf in entries():
        if not leaf:
            if "." not in key:
                lines += ["", f"**`{key}`** {comment}", "", "| value | default | meaning |", "|---|---|---|"]
            continue
        shown = json.dumps(value, ensure_ascii=False)
        lines.append(f"| `{key}` | `{shown}` | {comment} |".replace("||", "|"))
    return "\n".join(lines).lstrip("\n") + "\n"


def entries():
    """(key, default, comment, is it a leaf) of values.yaml, in its order."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    return list(walk(yaml.compose("\n".join(lines)), lines, ""))


def walk(node, lines, prefix):
    for name, value in node.value:
        key = f"{prefix}{name.value}"
        comment = above(lines, name.start_mark.line)
        # A map without comments inside is one value, such as resources.
        inner = range(name.start_mark.line, last_line(value))
        branch = isinstance(value, yaml.MappingNode) and any(re.match(r"\s*#", lines[number]) for number in inner)
        if branch:
            yield key, None, comment, False
            yield from walk(value, lines, f"{key}.")
        else:
            yield key, yaml.safe_load(yaml.serialize(value)), comment, True


def last_line(node):
    """Where a node's last value begins; the node itself ends only behind the comments that follow."""
    if isinstance(node, yaml.MappingNode) and node.value:
        return last_line(node.value[-1][1])
    return node.start_mark.line


def above(lines, number):
    """The comment that ends right above this line."""
    found = []
    while number > 0 and (match := re.match(r"\s*# ?(.*)", lines[number - 1])):
        found.append(match[1])
        number -= 1
    return " ".join(reversed(found))
