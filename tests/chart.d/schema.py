"""The part of values.schema.json that follows from the program's settings, and what must hold for all of it."""

import json

from helm import CHART
from program import keys

FILE = CHART / "values.schema.json"

# What the chart decides, or what makes no sense on more than one machine.
DECIDED = {"data.dir", "directory.adapter", "directory.url", "messages.url", "limits.adapter", "ledger.adapter", "ledger.url",
           "queue.adapter", "aws.credentials", "http.listen", "event_log.adapter", "event_log.user", "event_log.password",
           "event_log.authorities_file", "state.adapter", "auth.jwks", "write_api.listen", "read_api.listen", "follow_limits.shard",
           "follow_limits.shards"}
# Queries that only an existing chat's directory has.
OF_CHAT = ["free_organizations", "organizations", "rooms"]
# And one that it has for the message path alone.
OF_MESSAGE_PATH = ["participant"]
# And one that it has for what follows the directory alone.
OF_FOLLOWING = ["changed_organizations"]
# What all jobs must see alike, or what one job has to itself anyway.
OF_NO_JOB = {"policy", "event_log", "write_api", "read_api", "follow_limits"}


def derived():
    """values.schema.json with its settings made anew."""
    schema = json.loads(FILE.read_text())
    schema["$defs"]["settings"] = settings()
    schema["$defs"]["overrides"] = overrides()
    return compact(schema) + "\n"


def settings():
    """What `settings` takes: every key of the program but what the chart decides."""
    sections = {}
    for section, found in keys().items():
        own = {name: of_key(key) for name, key in found.items() if key["key"] not in DECIDED and key["adapter"] != "embedded"}
        if own:
            sections[section] = closed(own)
    sections["policy"] = {"type": "array", "minItems": 1, "items": {**sections["policy"], "required": ["max_messages", "max_age"]}}
    sections["policy"]["items"]["properties"]["plans"] = {"type": "array", "items": {"const": "free"}, "minItems": 1}
    sections["directory"] |= {
        "required": ["owner"],
        "if": {"properties": {"owner": {"const": "chat"}}},
        "then": {"required": OF_CHAT},
        "else": {"properties": dict.fromkeys(OF_CHAT + OF_MESSAGE_PATH + OF_FOLLOWING, False)},
    }
    adapters = {name: key["adapter"] for name, key in keys()["messages"].items() if key["adapter"] and key["key"] not in DECIDED}
    sections["messages"] |= {
        "required": ["adapter"],
        "if": {"properties": {"adapter": {"const": "sql"}}},
        "then": {"required": ["newest_ids"], "properties": {name: False for name, of in adapters.items() if of != "sql"}},
        "else": {"properties": {name: False for name, of in adapters.items() if of == "sql"}},
    }
    needed = ["directory", "messages", "aws", "dynamodb", "sqs"]
    return {"description": "Made from lanner settings --explain.", **closed(sections), "required": needed}


def overrides():
    """What one job may have different: numbers and its log. All else must be the same for all jobs."""
    sections = {}
    for section, found in keys().items():
        own = {name: of_key(key) for name, key in found.items() if section == "log" or (key["range"] and section not in OF_NO_JOB)}
        if own:
            sections[section] = closed(own)
    return {"description": "Made from lanner settings --explain.", **closed(sections)}


def of_key(key):
    if key["range"]:
        return {"type": "integer", "minimum": key["range"][0], "maximum": key["range"][1]}
    if key["one_of"]:
        return {"enum": [word for word in key["one_of"] if word != "embedded"]}
    return {"type": "string"}


def closed(properties):
    return {"type": "object", "additionalProperties": False, "properties": properties}


def stale():
    """The file is as it would be written."""
    if derived() != FILE.read_text():
        yield "values.schema.json does not fit the program's settings: tests/chart --write"


def open_places(schema=None, path="#"):
    """Every object of the schema refuses unknown keys, or says what its keys may be."""
    schema = json.loads(FILE.read_text()) if schema is None else schema
    if isinstance(schema, list):
        for index, each in enumerate(schema):
            yield from open_places(each, f"{path}/{index}")
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and "additionalProperties" not in schema and path != "#/properties/global":
        yield f"{path} takes unknown keys"
    for key, each in schema.items():
        yield from open_places(each, f"{path}/{key}")


def compact(value, indent="", width=120):
    """JSON with what fits in a line on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value or len(indent) + len(line) <= width:
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        inner = [f"{deeper}{json.dumps(key)}: {compact(each, deeper, width)}" for key, each in value.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + compact(each, deeper, width) for each in value) + f"\n{indent}]"
