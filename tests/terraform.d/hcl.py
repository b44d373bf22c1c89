"""Terraform's files as plain data: blocks, their labels, their arguments."""

import functools
import json
from pathlib import Path

import hcl2

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "terraform"


def load(path):
    return parse(Path(path).read_text())


# By content: copies of a file are parsed once.
parse = functools.cache(hcl2.loads)


def modules(root=None):
    """The folders with a module in them: the root, its modules, its examples."""
    root = Path(root or TERRAFORM)
    return sorted({path.parent for path in root.rglob("*.tf") if ".terraform" not in path.parts})


def is_block(value):
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) and v.get("__is_block__") for v in value)


def text(value):
    """What a literal says; an expression stays what it is, in ${}."""
    if isinstance(value, str) and value.startswith('"'):
        return json.loads(value)
    if isinstance(value, list):
        return [text(v) for v in value]
    if isinstance(value, dict):
        return {text(k): text(v) for k, v in value.items() if not k.startswith("__")}
    return value


def blocks(folder, kind):
    """(labels, body) of every block of a kind in a module."""
    for path in sorted(Path(folder).glob("*.tf")):
        for block in load(path).get(kind, []):
            labels = []
            while not block.get("__is_block__"):
                (label, block), = ((k, v) for k, v in block.items() if not k.startswith("__"))
                labels.append(text(label))
            yield tuple(labels), block


def arguments(body):
    """A block's arguments and nested blocks by name; a dynamic block counts as the block that it makes."""
    plain = {text(k): v for k, v in body.items() if not k.startswith("__") and k != "dynamic" and not is_block(v)}
    nested = {text(k): list(v) for k, v in body.items() if is_block(v) and k != "dynamic"}
    for dynamic in body.get("dynamic", []):
        for label, made in dynamic.items():
            nested.setdefault(text(label), []).extend(made["content"])
    return plain, nested


def locals_of(folder):
    """Every local of a module."""
    found = {}
    for _, body in blocks(folder, "locals"):
        found |= {text(k): v for k, v in body.items() if not k.startswith("__")}
    return found
