"""The containers that the chart starts, on real servers: with their commands, environment and files, as their user, writing nothing."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

from helm import objects, pod_of, render
from program import BINARY, Missing
from start import starts

ADDRESSES = ("LANNER_TEST_DYNAMODB_URL", "LANNER_TEST_SQS_URL", "LANNER_TEST_MYSQL_URL")
# A container's view: another user, and nothing that can be written.
CONFINED = 'mount --make-rprivate / && mount -o remount,ro,bind / && exec setpriv --reuid=65532 --regid=65532 --clear-groups "$@"'

TABLES = {
    "organizations": ["id,plan", "1,free", "2,free", "3,paid"],
    "accounts": ["id,org_id", "1,1", "2,2", "3,3"],
    "rooms": ["id", "1", "2"],
    "memberships": ["room_id,account_id", "1,1", "2,1", "2,2", "1,3"],
}
EPOCH_MS = 1_704_067_200_000


class Wrong(Exception):
    """Something is not as the chart says."""


def problems(trial=None, more=()):
    """What went wrong in a trial; nothing, when every container did its work."""
    missing = [name for name in (*ADDRESSES, *more) if name not in os.environ]
    if missing:
        raise Missing(f"{missing[0]} is not set: tests/servers tests/chart --live")
    if os.geteuid() != 0:
        raise Missing("only root can run something as another user")
    if not BINARY.exists():
        raise Missing(f"there is no {BINARY}")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        try:
            (trial or Trial)(pathlib.Path(folder)).run()
        except Wrong as wrong:
            yield str(wrong)


class Trial:
    """A release on local servers, where its names begin with its own."""

    NAME = "chart"

    def __init__(self, folder):
        self.folder = folder
        name = f"{self.NAME}_{os.getpid()}"
        self.database = os.environ["LANNER_TEST_MYSQL_URL"].rstrip("/") + f"/{name}"
        self.items = objects(render(values=self.values(name)))
        self.starts = starts(self.items)

    def values(self, name):
        """What the release is installed with; names begin with this one."""
        return {
            "settings": {
                "aws": {"region": "eu-central-1"},
                "dynamodb": {"endpoint": os.environ["LANNER_TEST_DYNAMODB_URL"], "table_prefix": f"{name}-"},
                "sqs": {"endpoint": os.environ["LANNER_TEST_SQS_URL"], "queue_prefix": f"{name}-"},
                "policy": [{"max_messages": 10, "max_age": "40d"}],
            },
            "rerun": {"organization": "1", "reason": "ticket 17", "actor": "somebody"},
            "operate": {"command": ["provision", "--reason=first"], "actor": "somebody"},
        }

    def run(self):
        """From an empty database."""
        self.sql(f"CREATE DATABASE {self.database.rsplit('/', 1)[1]}")
        try:
            self.expect(0, "provision")
            self.imported()
            self.work()
        finally:
            self.sql(f"DROP DATABASE {self.database.rsplit('/', 1)[1]}")

    def work(self):
        """From messages to limits, as an operator would."""
        with self.worker("collect-rooms"), self.worker("merge-newest"):
            self.expect(0, "extract-organizations")
            self.expect(0, "rerun")
        self.expect(0, "doctor")
        self.limits()
        # What the policies of failures build on.
        self.expect(42, "extract-organizations", secret=None)
        self.expect(75, "extract-organizations", secret="mysql://root@127.0.0.1:1/nothing")

    def sql(self, statement):
        address = urllib.parse.urlparse(self.database)
        subprocess.run(["mariadb", "--no-defaults", "--protocol=tcp", "-h", address.hostname, "-P", str(address.port),
                        "-u", address.username, "-e", statement], check=True)

    def command(self, job, secret=""):
        """How a job's container is started; without a secret its file is not there."""
        start = self.starts[job].into(self.folder / f"{job}-{time.monotonic_ns()}")
        for path in start.elsewhere if secret is not None else []:
            pathlib.Path(path).write_text(secret or self.secret(path))
        return dataclasses.replace(start, command=[BINARY, *start.command[1:]], environment={**start.environment, **self.local()})

    def secret(self, path):
        """What is mounted there."""
        return self.database

    def local(self):
        """Who asks local servers, and a port of its own: in a cluster each pod has an address, and a role."""
        return {"LANNER_AWS_CREDENTIALS": "local", "LANNER_HTTP_LISTEN": f"127.0.0.1:{free_port()}"}

    def confined(self, start):
        return ["unshare", "--mount", "sh", "-c", CONFINED, "sh", *start.command]

    def expect(self, code, job, **how):
        start = self.command(job, **how)
        done = subprocess.run(self.confined(start), env=start.environment, capture_output=True, text=True, timeout=60)
        if done.returncode != code:
            raise Wrong(f"{job} ended with {done.returncode}, not {code}:\n{done.stdout[-800:]}\n{done.stderr[-800:]}")
        return done.stdout

    def imported(self):
        """Twenty messages an organization, an hour between them."""
        tables = self.folder / "tables"
        tables.mkdir()
        for table, rows in TABLES.items():
            (tables / f"{table}.csv").write_text("\n".join(rows) + "\n")
        since = int(time.time() * 1000) - EPOCH_MS
        ids = [f"{1 + hour % 2},{(since - 3_600_000 * (hour + 1)) << 22}" for hour in range(40)]
        (tables / "messages.csv").write_text("\n".join(["room_id,message_id", *ids]) + "\n")
        start = self.command("provision")
        subprocess.run([BINARY, "import", tables], env=start.environment, check=True, capture_output=True)

    def limits(self):
        start = self.command("provision")
        told = subprocess.run([BINARY, "limits", "export"], env=start.environment, check=True, capture_output=True, text=True)
        found = [line.split(",")[:2] for line in told.stdout.splitlines()[1:]]
        if found != [["1", "10"], ["2", "10"]]:
            raise Wrong(f"limits are {found}")

    @contextlib.contextmanager
    def worker(self, job):
        """A pod: its probes answer as the chart asks them, and SIGTERM ends it in the time that it has."""
        [pod] = [pod_of(item)["spec"] for item in self.items if item["metadata"]["name"] == f"lanner-{job}"
                 and item["kind"] in ("Deployment", "StatefulSet")]
        start = self.command(job)
        process = subprocess.Popen(self.confined(start), env=start.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                path = pod["containers"][0][probe]["httpGet"]["path"]
                answered(f"http://{start.environment['LANNER_HTTP_LISTEN']}{path}", process)
            yield start
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=pod["terminationGracePeriodSeconds"])
            if code != 0:
                raise Wrong(f"{job} ended with {code} after SIGTERM")
        finally:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answered(url, process):
    """Waits until it answers 200, at most 30 s."""
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=3) as answer:
                return answer.read()
        except OSError:
            time.sleep(0.1)
    raise Wrong(f"{url} does not answer; the worker {'runs' if process.poll() is None else 'has ended'}")
