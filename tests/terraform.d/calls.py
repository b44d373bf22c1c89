"""Each job does its work with its role's rights and no others, at local servers; and of what a role may do, everything is done.

    tests/servers tests/terraform --calls LANNER

A run as production has it: the scheduled job, two workers, one organization again; then what people do; then, where there is Kafka, what
the message path does (calls_messages.py). What a role may call is read from
access.tf and roles.tf, and stands between each process and the servers (gate.py).
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import calls_messages
import check_policies
from gate import Gate
from hcl import TERRAFORM

# What happens too rarely to be seen here.
RARE = {
    ("extract-organizations", "dynamodb:PutItem state"): "who starts first fixes the epoch of the message ids; here the import",
    ("collect-rooms", "dynamodb:PutItem state"): "the same",
    ("merge-newest", "dynamodb:PutItem state"): "the same",
    ("rerun", "dynamodb:PutItem state"): "the same",
    ("operate", "dynamodb:PutItem state"): "the same",
    ("serve-reads", "dynamodb:PutItem state"): "the same",
    ("merge-newest", "sqs:SendMessage organizations"): "an organization is collected again when the ledger has lost its rooms",
    ("collect-rooms", "sqs:ChangeMessageVisibility organizations"): "work that takes long, or failed, or is stopped",
    ("merge-newest", "sqs:ChangeMessageVisibility rooms"): "the same",
    ("rerun", "sqs:ChangeMessageVisibility organizations"): "the same",
    ("rerun", "sqs:ChangeMessageVisibility rooms"): "the same",
    ("operate", "sqs:ChangeMessageVisibility organizations"): "the same",
    ("operate", "sqs:ChangeMessageVisibility rooms"): "the same",
}


def tables(folder, paid):
    """Three organizations that share rooms; some are on the paid plan."""
    newest = int((time.time() - 1_704_067_200) * 1000)
    rows = {
        "organizations": ["id,plan", *(f"{o},{'paid' if o in paid else 'free'}" for o in (1, 2, 3))],
        "accounts": ["id,org_id", "11,1", "21,2", "31,3"],
        "rooms": ["id", "100", "200"],
        "memberships": ["room_id,account_id", "100,11", "100,21", "200,21", "200,31"],
        "messages": ["room_id,message_id,author_id,body"]
        + [f"{room},{(newest - 60_000 * n << 22) + room},11,words" for room in (100, 200) for n in range(30)],
    }
    folder.mkdir()
    for name, lines in rows.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return str(folder)


class House:
    def __init__(self, lanner, folder):
        self.lanner, self.folder, self.gates, self.wrong = lanner, folder, {}, []
        self.dynamodb, self.sqs = os.environ["LANNER_TEST_DYNAMODB_URL"], os.environ["LANNER_TEST_SQS_URL"]
        database = f"roles_{os.getpid()}"
        mysql = os.environ["LANNER_TEST_MYSQL_URL"].rstrip("/")
        host, port = mysql.rsplit("@", 1)[1].split(":")
        client = ["mariadb", "--no-defaults", "--protocol=tcp", "-h", host, "-P", port, "-u", "root", "-e"]
        subprocess.run([*client, f"CREATE DATABASE {database}"], check=True)
        self.url = f"{mysql}/{database}"
        self.may, self.families = check_policies.granted(TERRAFORM), check_policies.families(TERRAFORM)

    def environment(self, dynamodb, sqs, **more):
        return {k: v for k, v in os.environ.items() if not k.startswith("LANNER_")} | {
            "LANNER_DIRECTORY_ADAPTER": "sql", "LANNER_DIRECTORY_URL": self.url, "LANNER_LEDGER_ADAPTER": "sql",
            "LANNER_LEDGER_URL": self.url, "LANNER_MESSAGES_ADAPTER": "dynamodb", "LANNER_LIMITS_ADAPTER": "dynamodb",
            "LANNER_QUEUE_ADAPTER": "sqs", "LANNER_AWS_REGION": "eu-central-1", "LANNER_AWS_CREDENTIALS": "local",
            "LANNER_DYNAMODB_ENDPOINT": dynamodb, "LANNER_SQS_ENDPOINT": sqs, "LANNER_SQS_LINGER_MS": "50",
            # What a worker that is stopped was just being sent comes back soon.
            "LANNER_WORKERS_VISIBLE_FOR_MS": "1000",
        } | calls_messages.settings() | more

    def gate(self, role):
        if role not in self.gates:
            self.gates[role] = Gate(self.may[role], self.families[role], self.dynamodb, self.sqs)
        return self.gates[role]

    def run(self, role, *arguments, codes=(0,)):
        """A command to its end, with the rights of a role; with all rights where there is none."""
        gate = self.gate(role) if role else self
        env = self.environment(gate.dynamodb, gate.sqs)
        try:
            ran = subprocess.run([self.lanner, *arguments], env=env, cwd=self.folder, capture_output=True, text=True, timeout=40)
        except subprocess.TimeoutExpired:
            self.wrong.append(f"{role}: lanner {' '.join(arguments)} did not end within 40 s")
            return ""
        if ran.returncode not in codes:
            self.wrong.append(f"{role}: lanner {' '.join(arguments)} ended with {ran.returncode}: {ran.stderr.strip()[-600:]}")
        return ran.stdout

    def worker(self, role, **more):
        gate = self.gate(role)
        # Its queues' depth is told only where metrics are.
        env = self.environment(gate.dynamodb, gate.sqs, LANNER_HTTP_LISTEN=free_address(), **more)
        with open(f"{self.folder}/{role}.log", "ab") as told:
            return subprocess.Popen([self.lanner, role], env=env, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=told)

    @contextlib.contextmanager
    def workers(self, roles=("collect-rooms", "merge-newest"), **more):
        started = {role: self.worker(role, **more) for role in roles}
        try:
            yield
        finally:
            for worker in started.values():
                worker.send_signal(signal.SIGTERM)
            for role, worker in started.items():
                if code := worker.wait(timeout=20):
                    self.wrong.append(f"{role} ended with {code}")


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def story(house, folder):
    house.run(None, "provision", "--reason", "roles")
    house.run("import", "import", tables(folder / "all-free", paid=()))
    with house.workers():
        house.run("extract-organizations", "extract-organizations", "--run", "first", "--wait")
    # One is upgraded while it waits in the queue: the worker that meets it releases its limit.
    house.run("extract-organizations", "extract-organizations", "--run", "second")
    house.run("import", "import", tables(folder / "one-paid", paid=(3,)))
    with house.workers():
        house.run("extract-organizations", "extract-organizations", "--run", "second", "--wait")
        # Another is upgraded before: the extraction releases its limit.
        house.run("import", "import", tables(folder / "two-paid", paid=(2, 3)))
        house.run("extract-organizations", "extract-organizations", "--run", "third", "--wait")
    if not json.loads(house.run("operate", "limits", "get", "--organization", "1", "--json") or "null"):
        house.wrong.append("organization 1 has no limit")
    house.run("rerun", "rerun", "--organization", "1", "--reason", "roles")
    for look in (["limits", "export"], ["explain", "--organization", "1"], ["preview", "--max-messages", "10"], ["dead-letters", "list"]):
        house.run("operate", *look)
    house.run("operate", "run", "--run", "fourth")
    house.run("operate", "doctor", codes=(0, 3))
    if calls_messages.KAFKA in os.environ:
        calls_messages.story(house, free_address(), free_address())
    else:
        print(f"NOT RUN: roles of the message path: {calls_messages.KAFKA} is not set")


def warnings(folder):
    """What the workers complained of."""
    for log in sorted(folder.glob("*.log")):
        yield from (f"{log.stem} said: {line}" for line in log.read_text(errors="replace").splitlines() if " WARN " in line or " ERROR " in line)


def compare(house):
    """What was refused, and what a role may although nobody ever calls it."""
    for role, gate in house.gates.items():
        yield from (f"{role}: {call} was called and is not allowed" for call in sorted(gate.refused))
        aws = {call for call in house.may[role] if not call.startswith("kms:")}
        for call in sorted(aws - gate.made - {call for rare, call in RARE if rare == role}):
            yield f"{role}: {call} is allowed and was never called"
        yield from (f"{role}: records {family}/ of the table of state are allowed and were never touched"
                    for family in sorted(house.families[role] - gate.families_touched))


def main():
    with tempfile.TemporaryDirectory() as folder:
        house = House(str(Path(sys.argv[1]).resolve()), folder)
        story(house, Path(folder))
        wrong = house.wrong + list(compare(house))
        said = list(warnings(Path(folder))) if wrong else []
    calls = sum(len(gate.made) for gate in house.gates.values())
    print("\n".join(said[-40:] + wrong) if wrong else f"{len(house.gates)} roles did their work with their own rights: {calls} kinds of calls, none refused")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
