"""atlantis.yaml: its projects are there, watch what they are made of, use workflows that exist, and wait for people."""

import yaml

from hcl import ROOT, blocks, text


def watched(project):
    """The folders whose files start a plan."""
    folder = ROOT / project["dir"]
    patterns = project["autoplan"]["when_modified"]
    return {path.resolve().parent for pattern in patterns for path in folder.glob(pattern)}


def made_of(folder):
    """The folder and those of all modules that it calls."""
    found = {folder.resolve()}
    for _, body in blocks(folder, "module"):
        found |= made_of(folder / text(body["source"]))
    return found


def check():
    atlantis = yaml.safe_load((ROOT / "atlantis.yaml").read_text())
    for project in atlantis["projects"]:
        name, folder = project["name"], ROOT / project["dir"]
        if not list(folder.glob("*.tf")):
            yield f"project {name}: nothing in {project['dir']}"
            continue
        for module in sorted(made_of(folder) - watched(project)):
            yield f"project {name}: a change of {module.relative_to(ROOT)} plans nothing"
        if not (folder / f"env/{project['workspace']}.tfvars").is_file():
            yield f"project {name}: no values in {project['dir']}/env/{project['workspace']}.tfvars"
        if project["workflow"] not in atlantis["workflows"]:
            yield f"project {name}: no workflow {project['workflow']}"
        for requirement in {"approved", "mergeable", "undiverged"} - set(project["apply_requirements"]):
            yield f"project {name}: applies what is not {requirement}"
