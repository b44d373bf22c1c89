"""Resource types, arguments and blocks against the provider's schema, and modules against those who call them."""

import re

from hcl import arguments, blocks, modules, text

META = {"count", "for_each", "depends_on", "provider", "providers", "source", "version"}
META_BLOCKS = {"lifecycle", "provisioner", "connection"}
REFERENCE = re.compile(r"\b(data\.)?(aws_\w+)\.(\w+)(?:\[[^\]]*\])?\.(\w+)")


def check_block(schema, body, where, meta=frozenset(), meta_blocks=frozenset()):
    plain, nested = arguments(body)
    attributes, block_types = schema["attributes"], schema["block_types"]
    for name in plain.keys() - meta:
        if name in block_types:
            yield f"{where}: {name} is a block, not an argument"
        elif name not in attributes:
            yield f"{where}: there is no argument {name}"
        elif not (attributes[name].get("required") or attributes[name].get("optional")):
            yield f"{where}: {name} is read, not set"
    for name, attribute in attributes.items():
        if attribute.get("required") and name not in plain:
            yield f"{where}: {name} is required"
    for name in nested.keys() - meta_blocks:
        if name not in block_types:
            yield f"{where}: there is no block {name}"
            continue
        most = block_types[name].get("max_items", 0)
        if most and len(nested[name]) > most:
            yield f"{where}: {len(nested[name])} blocks {name}, at most {most}"
        for content in nested[name]:
            yield from check_block(block_types[name]["block"], content, f"{where}.{name}")
    for name, block_type in block_types.items():
        if block_type.get("min_items", 0) > len(nested.get(name, [])):
            yield f"{where}: a block {name} is required"


def check_resources(schema, folder, name):
    for kind, schemas in (("resource", schema["resource_schemas"]), ("data", schema["data_source_schemas"])):
        for (of, label), body in blocks(folder, kind):
            where = f"{name}: {kind} {of}.{label}"
            if of not in schemas:
                yield f"{where}: there is no {of}"
            else:
                yield from check_block(schemas[of]["block"], body, where, META, META_BLOCKS)
    for _, body in blocks(folder, "provider"):
        yield from check_block(schema["provider"]["block"], body, f"{name}: provider aws", {"alias"})


def check_references(schema, folder, name):
    for path in sorted(folder.glob("*.tf")):
        for data, of, label, attribute in REFERENCE.findall(path.read_text()):
            schemas = schema["data_source_schemas" if data else "resource_schemas"]
            block = schemas.get(of, {}).get("block")
            if block and attribute not in block["attributes"].keys() | block["block_types"].keys():
                yield f"{name}/{path.name}: {data}{of}.{label} has no {attribute}"


def check_calls(folder, name):
    """Calls of modules."""
    for (label,), body in blocks(folder, "module"):
        where, target = f"{name}: module {label}", (folder / text(body["source"])).resolve()
        variables = {of: "default" in variable for (of,), variable in blocks(target, "variable")}
        given = arguments(body)[0].keys() - META
        yield from (f"{where}: there is no variable {variable}" for variable in given - variables.keys())
        yield from (f"{where}: {v} is required" for v, default in variables.items() if not default and v not in given)
        outputs = {of for (of,), _ in blocks(target, "output")}
        for path in sorted(folder.glob("*.tf")):
            for output in re.findall(rf"\bmodule\.{label}(?:\[[^\]]*\])?\.(\w+)", path.read_text()):
                if output not in outputs:
                    yield f"{name}/{path.name}: module.{label} has no output {output}"


def check(schema, root):
    for folder in modules(root):
        name = f"terraform/{folder.relative_to(root)}".removesuffix("/.")
        yield from check_resources(schema, folder, name)
        yield from check_references(schema, folder, name)
        yield from check_calls(folder, name)
