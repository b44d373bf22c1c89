"""What tests/names checks; see there."""

import json
import os
import pathlib
import re
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
ANYBODY = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
# On, with what it needs and with the names that it has by default.
MESSAGE_PATH = {
    "messagePath": {"enabled": True, "keys": {"secret": "tokens"}},
    "settings": {"event_log": {"bootstrap": "broker.example:9094"}},
    "networkPolicy": {"writesFrom": ANYBODY, "readsFrom": ANYBODY, "egress": {"kafka": {"to": ANYBODY}}},
}


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
    everything = {"autoscaling": {"enabled": True}, "rerun": {"organization": "1", "reason": "r", "actor": "a"},
                  "operate": {"command": ["doctor"], "actor": "a"}, **MESSAGE_PATH}
    items = objects(render(values=everything, files=[TERRAFORM]))
    accounts = {item["metadata"]["name"] for item in items if item["kind"] == "ServiceAccount"}
    trusted = set(terraform["service_accounts"].values())
    for name in accounts - trusted:
        yield f"service account {name}: no role trusts it"
    triggers = [trigger for item in items if item["kind"] == "ScaledObject" for trigger in item["spec"]["triggers"]]
    yield from of_lag([trigger["metadata"] for trigger in triggers if trigger["type"] == "kafka"])
    scaled = {name.rsplit("/", 1)[-1] for trigger in triggers if trigger["type"] != "kafka"
              for name in [trigger["metadata"].get("queueURL") or trigger["metadata"]["dimensionValue"]]}
    queues = {queue["name"] for queue in terraform["queues"].values()}
    if scaled != queues:
        yield f"the chart scales by {sorted(scaled)}, Terraform makes {sorted(queues)}"


def of_lag(asked):
    """The lag that the chart scales by is that of a topic and a group of the program."""
    adapter, prefix = explained("event_log.adapter"), explained("event_log.topic_prefix")
    topics = {prefix["default"] + name for name in re.findall(r"PREFIX(\w+)", adapter["about"])}
    told = subprocess.run([BINARY, "jobs", "--json"], capture_output=True, text=True, env={}, check=True)
    readers = {job["name"] for job in json.loads(told.stdout) if "event-log" in job["reads"] and "messages" in job["writes"]}
    if not asked:
        yield "the chart scales nothing by lag"
    for lag in asked:
        if lag["topic"] not in topics:
            yield f"the chart scales by the topic {lag['topic']}, the program has {sorted(topics)}"
        if lag["consumerGroup"] not in readers:
            yield f"the chart scales by the group {lag['consumerGroup']}, the program's log is followed by {sorted(readers)}"


def explained(key):
    told = subprocess.run([BINARY, "settings", "--json", "--explain", key], capture_output=True, text=True, env={}, check=True)
    [known] = json.loads(told.stdout)["keys"]
    return known


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
