"""Values that must be refused, each with words that name what is wrong."""

import concurrent.futures
import copy

import yaml

from helm import HERE, OLD, NEW, Refused, render


def problems():
    """Every case of refusals.yaml is refused with words that name it; one of each kind by Helm 3, too, whose words are others."""
    cases = yaml.safe_load((HERE / "refusals.yaml").read_text())
    bases = {"everything": "everything", "messages": "message-path"}
    bases = {word: yaml.safe_load((HERE / f"values/{file}.yaml").read_text()) for word, file in bases.items()}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for words in pool.map(lambda case: list(refused(case, bases)), cases):
            yield from words


def refused(case, bases):
    values = merged(next((base for word, base in bases.items() if case.get(word)), {}), case["values"])
    for program in (NEW, OLD) if case.get("kind") else (NEW,):
        try:
            render(values=values, program=program)
        except Refused as refusal:
            missing = [word for word in case["says"] if word not in str(refusal)]
            if missing and program == NEW:
                yield f"{case['rule']}: the refusal does not say {missing}: {refusal}"
        else:
            yield f"{case['rule']}: {program.parent.name} takes {case['values']}"


def merged(base, other):
    made = copy.deepcopy(base)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = merged(made[key], value) if both else value
    return made
