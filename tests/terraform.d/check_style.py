"""What makes the modules readable: everything is described, typed, validated, tested and used, and the READMEs are true."""

import re
from collections import Counter

from hcl import blocks, load, locals_of, modules, text

MARK = "<!-- generated: tests/terraform --docs -->\n"


def expression(value):
    """A default or a type as it is written."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(map(expression, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {expression(v)}" for k, v in value.items() if not k.startswith("__")) + "}"
    return re.sub(r"^\$\{(.*)\}$", r"\1", str(value), flags=re.S)


def tables(folder):
    """The generated end of a README."""
    lines = ["| variable | type | default | what it is |", "|---|---|---|---|"]
    for (name,), body in sorted(blocks(folder, "variable")):
        default = f"`{expression(body['default'])}`" if "default" in body else "needed"
        kind = re.sub(r"\s+", " ", expression(body.get("type", "any")))
        lines.append(f"| `{name}` | `{kind}` | {default} | {text(body.get('description', ''))} |")
    lines += ["", "| output | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {text(body.get('description', ''))} |" for (name,), body in sorted(blocks(folder, "output"))]
    return "\n".join(lines) + "\n"


def check_described(folder, name):
    for (variable,), body in blocks(folder, "variable"):
        for what in ("description", "type", "validation"):
            if what not in body:
                yield f"{name}: variable {variable} has no {what}"
    for (output,), body in blocks(folder, "output"):
        if "description" not in body:
            yield f"{name}: output {output} has no description"
    for _, body in blocks(folder, "terraform"):
        for provider in body.get("required_providers", []):
            for of, wanted in provider.items():
                if not of.startswith("__") and "<" not in str(wanted.get("version", "")):
                    yield f"{name}: provider {of} has no upper bound"
    if not any("required_version" in body for _, body in blocks(folder, "terraform")):
        yield f"{name}: no required_version"


def check_used(folder, name):
    source = "\n".join(path.read_text() for path in sorted(folder.glob("*.tf")))
    outside_of_itself = lambda variable: re.sub(rf'variable "{variable}" \{{.*?\n\}}\n', "", source, flags=re.S)
    for (variable,), _ in blocks(folder, "variable"):
        if not re.search(rf"\bvar\.{variable}\b", outside_of_itself(variable)):
            yield f"{name}: variable {variable} is not used"
    for local in locals_of(folder):
        if not re.search(rf"\blocal\.{local}\b", source):
            yield f"{name}: local {local} is not used"


def negative_tests(root):
    """How many runs expect each variable of each module to be refused."""
    found = Counter()
    for path in sorted((root / "tests").glob("*.tftest.hcl")):
        for run in load(path).get("run", []):
            (body,) = (b for label, b in run.items() if not label.startswith("__"))
            source = text(body["module"][0]["source"]) if "module" in body else "."
            for checked in body.get("expect_failures", []):
                found[(root / source).resolve(), expression(checked).removeprefix("var.")] += 1
    return found


def check_refusals(root):
    found = negative_tests(root)
    for folder in modules(root):
        for (variable,), body in blocks(folder, "variable"):
            validations, tests = len(body.get("validation", [])), found[folder.resolve(), variable]
            if tests < validations:
                yield f"{folder.name}: variable {variable} has {validations} validations, and {tests} tests that it refuses"


def readme(folder):
    path = folder / "README.md"
    words, mark, _ = (path.read_text() if path.exists() else "").partition(MARK)
    return path, words, mark


def check_readme(folder, name):
    path, words, mark = readme(folder)
    if not mark:
        yield f"{name}: README.md is missing, or has no generated tables"
    elif path.read_text() != words + MARK + "\n" + tables(folder):
        yield f"{name}: the tables of README.md are not those of the module: tests/terraform --docs"


def write_readmes(root):
    for folder in documented(root):
        path, words, mark = readme(folder)
        if mark:
            path.write_text(words + MARK + "\n" + tables(folder))


def documented(root):
    return [folder for folder in modules(root) if "examples" not in folder.parts]


def check(root):
    for folder in modules(root):
        name = f"terraform/{folder.relative_to(root)}".removesuffix("/.")
        yield from check_described(folder, name)
        yield from check_used(folder, name)
        if folder in documented(root):
            yield from check_readme(folder, name)
    yield from check_refusals(root)
