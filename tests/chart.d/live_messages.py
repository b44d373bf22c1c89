"""The containers of the message path on real servers: what is written over HTTP can be read over HTTP, and limits follow it."""

import base64
import json
import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request

import live
from live import Wrong, free_port
from program import BINARY
from refusals import merged

KAFKA = "LANNER_TEST_KAFKA_URL"
WORDS = "written in a pod, read in another"


def check():
    """(name, problems) of this check."""
    return "containers of the message path run on real servers", live.problems(Trial, more=[KAFKA])


class Trial(live.Trial):
    """A release with the message path, on local servers and a broker without TLS."""

    NAME = "messages"

    def __init__(self, folder):
        secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        self.keys = json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "kid": "first", "k": secret}]})
        super().__init__(folder)

    def values(self, name):
        somebody = [{"ipBlock": {"cidr": "127.0.0.0/8"}}]
        broker = {"bootstrap": os.environ[KAFKA], "security": "plaintext", "topic_prefix": f"{name}-", "partitions": 4}
        return merged(super().values(name), {
            "settings": {"event_log": {**broker, "replication_factor": 1, "insync_replicas_min": 1, "session_timeout_ms": 3000}},
            "messagePath": {"enabled": True, "keys": {"secret": "tokens"}},
            "followLimits": {"enabled": True},
            "networkPolicy": {"writesFrom": somebody, "readsFrom": somebody, "egress": {"kafka": {"to": somebody}}},
        })

    def secret(self, path):
        return self.keys if path.endswith("/jwks.json") else super().secret(path)

    def local(self):
        ports = {f"LANNER_{api}_API_LISTEN": f"127.0.0.1:{free_port()}" for api in ("WRITE", "READ")}
        return {**super().local(), **ports}

    def work(self):
        """One of each pod: a message comes from the one API to the other."""
        with self.worker("serve-writes") as writes, self.worker("build-read-model"), self.worker("serve-reads") as reads:
            token = self.token(writes)
            write = f"http://{writes.environment['LANNER_WRITE_API_LISTEN']}/v1/rooms/1/messages"
            written = ask(write, token, {"body": WORDS}, Prefer="wait=10")
            page = ask(f"http://{reads.environment['LANNER_READ_API_LISTEN']}/v1/rooms/1/messages?limit=1", token)
        if WORDS not in json.dumps(page):
            raise Wrong(f"{written} was written, {page} was read")
        with self.worker("follow-limits"):
            self.followed()
        self.expect(0, "doctor")
        self.expect(42, "serve-reads", secret=None)

    def followed(self):
        """Limits come without a run, at most 30 s later."""
        until = time.monotonic() + 30
        while True:
            try:
                return self.limits()
            except Wrong:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def token(self, start):
        told = subprocess.run([BINARY, "token", "--account=1"], env=start.environment, capture_output=True, text=True, timeout=60)
        if told.returncode != 0:
            raise Wrong(f"token ended with {told.returncode}: {told.stderr}")
        return told.stdout.strip()


def ask(url, token, body=None, **headers):
    """What an API answers; a body is sent."""
    headers |= {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, body and json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        raise Wrong(f"{url}: {refused.code}: {refused.read().decode()}") from refused
