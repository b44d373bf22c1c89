"""Stands between a job and the local servers as IAM would: lets through what a role may call, refuses the rest, remembers both."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# SQS allows a batch by the action of one message.
BATCHES = {"SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"}


class Gate:
    """Two addresses, for DynamoDB and for SQS, behind which a role's calls are judged. Names are without their prefix."""

    def __init__(self, allowed, families, dynamodb, sqs):
        self.allowed, self.made, self.refused = allowed, set(), set()
        # Of the records of the table of state, as dynamodb:LeadingKeys bounds them.
        self.families, self.families_touched = families, set()
        self.dynamodb, self.sqs = (f"http://127.0.0.1:{self.serve(urlsplit(target))}" for target in (dynamodb, sqs))

    def judge(self, target, body):
        """Whether the call may be made."""
        request = json.loads(body or "{}")
        calls = {f"{action} {resource.removeprefix('lanner-')}" for action, resource in calls_of(target, request)}
        family = family_of(request)
        self.made |= calls
        self.families_touched |= {family} - {None}
        refused = calls - self.allowed
        if family not in {None, *self.families}:
            refused |= {f"{call} (records {family}/)" for call in calls}
        self.refused |= refused
        return not refused

    def serve(self, target):
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if gate.judge(self.headers.get("X-Amz-Target", ""), body):
                    status, headers, answer = forward(target, self.path, self.headers, body)
                else:
                    status, headers = 400, {"Content-Type": "application/x-amz-json-1.0"}
                    answer = json.dumps({"__type": "AccessDeniedException", "message": "the role may not"}).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                try:
                    self.wfile.write(answer)
                except BrokenPipeError:
                    pass  # a worker that is stopped waits for no answer

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port


def forward(target, path, headers, body):
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
    try:
        connection.request("POST", path, body, {k: v for k, v in headers.items() if k.lower() not in ("host", "connection")})
        answer = connection.getresponse()
        passed = {k: v for k, v in answer.getheaders() if k.lower() in ("content-type", "x-amz-crc32", "x-amzn-requestid", "x-amzn-errortype")}
        return answer.status, passed, answer.read()
    finally:
        connection.close()


def family_of(body):
    """The partition key of a record of the table of state, or of those that are listed."""
    asked = (body.get("Key") or body.get("Item") or {}).get("family") or body.get("ExpressionAttributeValues", {}).get(":family") or {}
    return asked.get("S")


def calls_of(target, body):
    """(action, resource) of a request, as IAM sees them."""
    service, operation = target.split(".")
    if service == "AmazonSQS":
        operation = operation.removesuffix("Batch") if operation in BATCHES else operation
        return [(f"sqs:{operation}", body.get("QueueName") or body["QueueUrl"].rsplit("/", 1)[1])]
    action = f"dynamodb:{operation}"
    if "RequestItems" in body:
        return [(action, table) for table in body["RequestItems"]]
    index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
    return [(action, body["TableName"] + index)]
