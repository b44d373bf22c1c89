"""The names that the module makes with its default variables, as JSON: to be compared with the program's and the chart's."""

import json

from hcl import TERRAFORM, blocks, locals_of, text


def names(root=TERRAFORM):
    default = {name: text(body["default"]) for (name,), body in blocks(root, "variable") if "default" in body}
    settings = {"sqs.queue_prefix": "queue_prefix", "dynamodb.table_prefix": "table_prefix"}

    def with_default(name):
        for variable in settings.values():
            name = name.replace(f"${{var.{variable}}}", default[variable])
        return name

    known = locals_of(root)
    queues = {
        queue: {"name": with_default(name), "dead_letters": with_default(name) + "-dead-letters"}
        for queue, name in text(known["queues"]).items()
    }
    tables = {
        table: {
            "name": with_default(of["name"]),
            "hash_key": of["hash_key"],
            "range_key": of["range_key"],
            "indexes": {} if literal(of["index"]) is None else {
                of["index"]["name"]: {key: of["index"][key] for key in ("hash_key", "range_key")} | {"projection": "KEYS_ONLY"}
            },
            "expires_by": literal(of["expires_by"]),
        }
        for table, of in text(known["tables"]).items()
    }
    return {
        "queues": queues,
        "tables": tables,
        "settings": {setting: default[variable] for setting, variable in settings.items()},
        "receives_max": default["receives_max"],
        "retention_days": {"queue": default["queue_retention_days"], "dead_letters": default["dead_letter_retention_days"]},
        "namespace": default["namespace"],
        "helm_values": skeleton(text(dict(output("helm_values"))["value"])),
        "service_accounts": {
            role: f"{default['name']}-{role}" for role in text(known["of_jobs"]) | text(known["of_messages"]) | text(known["of_people"])
        },
    }


def skeleton(value):
    """The keys of the chart's values, without what stands there."""
    return {key: skeleton(of) for key, of in value.items()} if isinstance(value, dict) else None


def output(name, root=TERRAFORM):
    return next(body for (of,), body in blocks(root, "output") if of == name)


def literal(value):
    return None if value == "${null}" else value


if __name__ == "__main__":
    print(json.dumps(names(), indent=2))
