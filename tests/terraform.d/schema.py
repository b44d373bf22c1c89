"""The schema of the AWS provider, read from the bindings that are generated from it (npm: @cdktn/provider-aws).

The provider itself cannot be had from a package registry. Its generated bindings say of every argument and block what it is called,
what type it has, whether it is required, and how blocks nest; what they do not say is which optional arguments the provider
fills in itself. The answer has the form of `terraform providers schema -json`.
"""

import json
import re
import sys
from pathlib import Path

ATTRIBUTE = re.compile(
    r"^ +(?P<name>\w+): \{\n +value: .*\n +isBlock: (?P<block>true|false),\n"
    r' +type: "(?P<type>\w+)",\n +storageClassType: "(?P<stored>\w+)",?\n',
    re.M,
)
STRUCT = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}", re.M | re.S)
RESOURCE = re.compile(r"^    synthesizeHclAttributes\(\) \{\n(.*?)^    \}", re.M | re.S)
INTERFACE = re.compile(r"^export interface (\w+)[^{]*\{\n(.*?)^\}", re.M | re.S)
MEMBER = re.compile(r"/\*\*(?P<doc>(?:(?!\*/).)*?)\*/\s+readonly \w+(?P<optional>\?)?: (?P<type>.*?);\n", re.S)
COMPUTED = re.compile(r"^        return (\w+\.Fn\.tolist\()?this\.get(\w+)Attribute\('(\w+)'\)", re.M)
# Read by everybody, set by the provider where nobody sets them.
FILLED_IN = {"id", "tags_all", "region", "arn"}
PLAIN = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}


def cty(kind, stored):
    """The type as Terraform writes it."""
    if stored in PLAIN:
        return PLAIN[stored]
    for ending in ("Map", "List"):
        if stored.endswith(ending) and stored[: -len(ending)] in PLAIN:
            return ["map" if ending == "Map" else kind, PLAIN[stored[: -len(ending)]]]
    raise ValueError(f"unknown type {kind} {stored}")


def members(interface):
    """By the provider's names: whether each is required, and whether there can be several."""
    found = {}
    for member in MEMBER.finditer(interface):
        name = re.search(r"\{@link \S+#(\w+) \w+#\1\}", member["doc"])
        if name:
            found[name[1]] = (member["optional"] is None, "[]" in member["type"])
    return found


def block(attributes, interface, structs, interfaces):
    """A block out of its generated function and interface."""
    known = members(interface)
    made = {"attributes": {}, "block_types": {}}
    for found in ATTRIBUTE.finditer(attributes):
        name, kind, stored = found["name"], found["type"], found["stored"]
        required, several = known.get(name, (False, False))
        if found["block"] == "false":
            made["attributes"][name] = {"type": cty(kind, stored), "required": required, "optional": not required}
            continue
        of = stored if kind == "struct" else stored.removesuffix("List")
        nested = {
            "nesting_mode": "single" if kind == "struct" else kind,
            "block": block(structs[of], interfaces[of], structs, interfaces),
        }
        if kind != "struct":
            nested |= {"min_items": int(required), "max_items": 0 if several else 1}
        made["block_types"][name] = nested
    return made


def read(folder):
    """The schema in a folder of the bindings."""
    source, types = ((folder / name).read_text() for name in ("index.js", "index.d.ts"))
    structs = {name[0].upper() + name[1:]: body for name, body in STRUCT.findall(source)}
    interfaces = dict(INTERFACE.findall(types))
    # Some resources have blocks that are called config, too: the resource's own comes first.
    config = next((body for name, body in interfaces.items() if name.endswith("Config")), "")
    main = RESOURCE.findall(source)
    made = block(main[-1] if main else "", config, structs, interfaces)
    # What the resource's own class reads, and nobody sets.
    own = source[source.rfind("\nclass "):]
    for as_set, kind, name in COMPUTED.findall(own):
        if name not in made["attributes"]:
            stored = {"String": "string", "Number": "number", "Boolean": "boolean", "": "stringList", "List": "stringList"}
            stored = stored.get(kind, kind[0].lower() + kind[1:])
            made["attributes"][name] = {"type": cty("set" if as_set else "list", stored), "computed": True}
    for name, attribute in made["attributes"].items():
        if name in FILLED_IN and not attribute.get("required"):
            attribute["computed"] = True
    made["attributes"].pop("alias", None)
    return {"version": 0, "block": made}


def schema(package, resources, data_sources):
    """Of the provider and of the resources and data sources that are there; the others are unknown."""
    lib = Path(package, "lib")
    folder = {name: name.removeprefix("aws_").replace("_", "-") for name in resources | data_sources}
    read_all = lambda names, prefix: {
        name: read(lib / (prefix + folder[name])) for name in sorted(names) if (lib / (prefix + folder[name])).is_dir()
    }
    return {
        "provider": read(lib / "provider"),
        "resource_schemas": read_all(resources, ""),
        "data_source_schemas": read_all(data_sources, "data-aws-"),
    }


if __name__ == "__main__":
    package, resources, data_sources = sys.argv[1:]
    print(json.dumps(schema(package, set(resources.split()), set(data_sources.split())), indent=1))
