"""Each validation is switched off once in a copy: a test of what is refused has to notice. Needs terraform, with a provider attached."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hcl import TERRAFORM, modules

CONDITION = re.compile(r"(validation \{\n\s+condition\s+= ).*?(\n\s+error_message)", re.S)


def mutants():
    """(file, its text with one validation that lets everything through)"""
    for folder in modules():
        for path in sorted(folder.glob("*.tf")):
            source = path.read_text()
            for found in CONDITION.finditer(source):
                # true, but looking at its variable, as a validation has to.
                variable = re.findall(r'variable "(\w+)"', source[: found.start()])[-1]
                off = f"{found[1]}var.{variable} == null || var.{variable} != null{found[2]}"
                yield path.relative_to(TERRAFORM), variable, source[: found.start()] + off + source[found.end() :]


def tests_of(file):
    of = {"modules": lambda: f"refused_{file.parts[1]}", "examples": lambda: "refused_example"}.get(file.parts[0], lambda: "refused")()
    return f"tests/{of}.tftest.hcl"


def survives(root, file, text):
    path = root / file
    good = path.read_text()
    path.write_text(text)
    try:
        run = ["terraform", f"-chdir={root}", "test", "-no-color", f"-filter={tests_of(file)}"]
        ran = subprocess.run(run, capture_output=True, text=True)
    finally:
        path.write_text(good)
    return ran.returncode == 0 or "Missing expected failure" not in ran.stdout + ran.stderr


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(TERRAFORM, Path(folder, "terraform"), ignore=shutil.ignore_patterns(".terraform")))
        os.environ.pop("TF_DATA_DIR", None)
        subprocess.run(["terraform", f"-chdir={root}", "init", "-backend=false"], check=True, capture_output=True)
        tried = [(file, variable, survives(root, file, text)) for file, variable, text in mutants()]
    for file, variable, survived in tried:
        if survived:
            print(f"{file}: a validation of {variable} can be switched off, and no test notices")
    left = sum(survived for *_, survived in tried)
    print(f"{len(tried) - left} of {len(tried)} validations are missed when they are off")
    sys.exit(bool(left))


if __name__ == "__main__":
    main()
