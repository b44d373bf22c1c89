"""What tests/names checks; see there."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse

import yaml
from helm import CHART, ROOT, TERRAFORM, objects, render

import services

BINARY = pathlib.Path(os.environ.get("LANNER_BINARY", ROOT / "target/debug/lanner"))
SETTINGS = ROOT / "docs/examples/services/lanner.toml"
DAY_S = 86_400


def provisioned():
    """(tables, queues) that the program makes with its default names."""
    addresses = [os.environ.get(f"LANNER_TEST_{name}_URL") for name in ("DYNAMODB", "SQS", "MYSQL")]
    if None in addresses:
        sys.exit("names: start it as: tests/servers tests/names")
    dynamodb, sqs, mysql = addresses
    if services.tables(dynamodb) or services.queues(sqs):
        sys.exit("names: needs servers on which nothing stands yet")
    server = urllib.parse.urlparse(mysql)
    client = ["mariadb", "--no-defaults", "--protocol=tcp", "-h", server.hostname, "-P", str(server.port), "-u", server.username]
    subprocess.run([*client, "-e", "CREATE DATABASE names"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "LANNER_CONFIG": str(SETTINGS), "LANNER_DYNAMODB_ENDPOINT": dynamodb, "LANNER_SQS_ENDPOINT": sqs,
            "LANNER_DIRECTORY_URL": f"{mysql.rstrip('/')}/names", "LANNER_LEDGER_URL": f"{mysql.rstrip('/')}/names",
        }
        subprocess.run([BINARY, "provision", "--reason", "names"], check=True, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
    subprocess.run([*client, "-e", "DROP DATABASE names"], check=True)
    return services.tables(dynamodb), services.queues(sqs)


def of_tables(terraform, made):
    planned = {table.pop("name"): table for table in terraform["tables"].values()}
    for name in planned.keys() | made.keys():
        if planned.get(name) != made.get(name):
            yield f"table {name}: Terraform has {planned.get(name)}, the program {made.get(name)}"


def of_queues(terraform, made):
    planned = {queue[kind] for queue in terraform["queues"].values() for kind in ("name", "dead_letters")}
    for name in planned ^ made.keys():
        yield f"queue {name}: only {'Terraform' if name in planned else 'the program'} has it"
    days = terraform["retention_days"]
    for queue in terraform["queues"].values():
        attributes, dead = made.get(queue["name"], {}), made.get(queue["dead_letters"], {})
        redrive = json.loads(attributes.get("RedrivePolicy", "{}"))
        if redrive.get("deadLetterTargetArn", "").rsplit(":", 1)[-1] != queue["dead_letters"]:
            yield f"queue {queue['name']}: the program sends its dead letters to {redrive.get('deadLetterTargetArn')}"
        if redrive and int(redrive["maxReceiveCount"]) != terraform["receives_max"]:
            yield f"queue {queue['name']}: given up after {redrive['maxReceiveCount']} receives, in Terraform {terraform['receives_max']}"
        for name, held, of in ((queue["name"], attributes, "queue"), (queue["dead_letters"], dead, "dead_letters")):
            # Not every local server keeps a retention.
            kept = held.get("MessageRetentionPeriod")
            if kept is not None and int(kept) != days[of] * DAY_S:
                yield f"queue {name}: keeps messages {kept} s, in Terraform {days[of]} days"


def of_chart(terraform):
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    yield from unknown(terraform["helm_values"], values, "helm_values")
    sample = json.loads(TERRAFORM.read_text())
    yield from unknown(sample, terraform["helm_values"], "the sample of helm_values")
    for setting, prefix in terraform["settings"].items():
        section, key = setting.split(".")
        in_chart = values["settings"][section][key]
        told = subprocess.run([BINARY, "settings", "--json", "--explain", setting], capture_output=True, text=True, env={})
        if told.returncode != 0:
            yield f"{setting}: the program has no such setting"
            continue
        [known] = json.loads(told.stdout)["keys"]
        if not in_chart == prefix == known["default"]:
            yield f"{setting}: {known['default']} in the program, {in_chart} in the chart, {prefix} in Terraform"
    items = objects(render(values={"autoscaling": {"enabled": True}, "rerun": {"organization": "1", "reason": "r", "actor": "a"},
                                   "operate": {"command": ["doctor"], "actor": "a"}}, files=[TERRAFORM]))
    accounts = {item["metadata"]["name"] for item in items if item["kind"] == "ServiceAccount"}
    trusted = set(terraform["service_accounts"].values())
    for name in accounts - trusted:
        yield f"service account {name}: no role trusts it"
    scaled = {name.rsplit("/", 1)[-1] for item in items if item["kind"] == "ScaledObject"
              for trigger in item["spec"]["triggers"] for name in [trigger["metadata"].get("queueURL") or trigger["metadata"]["dimensionValue"]]}
    queues = {queue["name"] for queue in terraform["queues"].values()}
    if scaled != queues:
        yield f"the chart scales by {sorted(scaled)}, Terraform makes {sorted(queues)}"


def unknown(asked, known, path):
    """Keys of one document that another does not have."""
    for key, value in asked.items():
        if key not in known:
            yield f"{path}: nobody knows {key}"
        elif isinstance(value, dict) and isinstance(known[key], dict):
            yield from unknown(value, known[key], f"{path}.{key}")


def main(path):
    terraform = json.loads(pathlib.Path(path).read_text())
    tables, queues = provisioned()
    problems = [*of_tables(terraform, tables), *of_queues(terraform, queues), *of_chart(terraform)]
    for problem in problems:
        print(f"names: FAILED: {problem}")
    if problems:
        sys.exit(1)
    print(f"names: ok  {len(tables)} tables, {len(queues)} queues, their settings and service accounts are the same everywhere")


main(sys.argv[1])
