"""What the jobs of the message path do, with their roles' rights: a message is written, made readable, read, and counted."""

import base64
import json
import os
import time
import urllib.error
import urllib.request

KAFKA = "LANNER_TEST_KAFKA_URL"
ROLES = ("serve-writes", "build-read-model", "serve-reads", "follow-limits")
SECRET = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")


def settings():
    """The log and the keys of tokens; nothing where there is no Kafka."""
    if KAFKA not in os.environ:
        return {}
    log = {
        "ADAPTER": "kafka", "BOOTSTRAP": os.environ[KAFKA], "TOPIC_PREFIX": f"roles-{os.getpid()}-", "PARTITIONS": "1",
        "REPLICATION_FACTOR": "1", "INSYNC_REPLICAS_MIN": "1", "SECURITY": "plaintext",
    }
    return {f"LANNER_EVENT_LOG_{key}": value for key, value in log.items()} | {
        "LANNER_STATE_ADAPTER": "dynamodb",
        "LANNER_AUTH_JWKS": json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": SECRET}]}),
    }


def story(house, writes, reads):
    """One message, by account 11 of organization 1 in room 100."""
    token = house.run(None, "token", "--account", "11").strip()
    with house.workers(ROLES, LANNER_WRITE_API_LISTEN=writes, LANNER_READ_API_LISTEN=reads):
        room = f"http://{writes}/v1/rooms/100/messages"
        written = ask(house, room, token, {"body": "hello"}, {"Prefer": "wait=10", "Idempotency-Key": "once"})
        again = ask(house, room, token, {"body": "hello"}, {"Idempotency-Key": "once"})
        if not written or written != again:
            house.wrong.append(f"the same request was {written}, then {again}")
            return
        page = f"http://{reads}/v1/rooms/100/messages"
        ask(house, f"{page}?limit=1", token)
        ask(house, f"{page}/{written['message_id']}", token)
        ask(house, f"http://{reads}/v1/organizations/1/view-limit", token)
        # The group's marker is written a little after its first commit, a limit at most a second after its message.
        until = time.monotonic() + 15
        late = {"build-read-model": "dynamodb:PutItem state", "follow-limits": "dynamodb:PutItem view_limits"}
        while any(call not in house.gate(role).made for role, call in late.items()) and time.monotonic() < until:
            time.sleep(0.1)


def ask(house, url, token, body=None, headers=None):
    """What is answered, at most 30 s later. A service that has just been started may not listen yet, or refuse until it holds its lease."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} | (headers or {})
    until = time.monotonic() + 30
    while True:
        request = urllib.request.Request(url, body and json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            wrong, may_pass = f"{refused.code}: {refused.read().decode()}", refused.code == 503
        except OSError as away:
            wrong, may_pass = str(away), True
        if not may_pass or time.monotonic() > until:
            house.wrong.append(f"{url}: {wrong}")
            return None
        time.sleep(0.2)
