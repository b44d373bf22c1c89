"""Serves the AWS provider's schema to Terraform, and nothing else: enough for validate, and for tests with mock_provider.

    python provider.py SCHEMA.json -- COMMAND...     runs the command with the provider attached (TF_REATTACH_PROVIDERS)

It reaches no AWS and checks no values: what the real provider says of an argument's content is not said here. The messages are those
of Terraform's plugin protocol 6, written by hand, for only a few of them are needed.
"""

import json
import os
import subprocess
import sys
import tempfile
from concurrent import futures
from pathlib import Path

import grpc

SERVICE = "/tfplugin6.Provider/"
NESTING = {"single": 1, "list": 2, "set": 3, "map": 4, "group": 5}


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def number(field, n):
    return varint(field << 3) + varint(n) if n else b""


def nested(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def attribute(name, a):
    flags = ((4, "required"), (5, "optional"), (6, "computed"), (7, "sensitive"))
    flags = b"".join(number(field, int(bool(a.get(flag)))) for field, flag in flags)
    return nested(1, name) + nested(2, json.dumps(a["type"])) + flags


def block(b):
    attributes = [nested(2, attribute(name, a)) for name, a in b["attributes"].items()]
    return b"".join(attributes + [nested(3, block_type(name, t)) for name, t in b["block_types"].items()])


def block_type(name, t):
    bounds = number(4, t.get("min_items", 0)) + number(5, t.get("max_items", 0))
    return nested(1, name) + nested(2, block(t["block"])) + number(3, NESTING[t["nesting_mode"]]) + bounds


def provider_schema(schema):
    def by_name(field, schemas):
        return b"".join(nested(field, nested(1, name) + nested(2, of(s))) for name, s in schemas.items())

    def of(s):
        return number(1, s["version"]) + nested(2, block(s["block"]))

    resources = by_name(2, schema["resource_schemas"]) + by_name(3, schema["data_source_schemas"])
    # Terraform may remember the schema instead of asking each time.
    capabilities = nested(6, number(2, 1))
    return nested(1, of(schema["provider"])) + resources + capabilities


class Provider(grpc.GenericRpcHandler):
    """Tells the schema; agrees to everything; is asked nothing else where resources are mocked."""

    def __init__(self, schema):
        self.answers = {"GetProviderSchema": provider_schema(schema), "StopProvider": b""}
        for agrees in ("ValidateProviderConfig", "ValidateResourceConfig", "ValidateDataResourceConfig", "ConfigureProvider"):
            self.answers[agrees] = b""

    def service(self, details):
        answer = self.answers.get(details.method.removeprefix(SERVICE))
        # None is answered with "unimplemented".
        return None if answer is None else grpc.unary_unary_rpc_method_handler(lambda request, context: answer)


def main():
    schema, separator, *command = sys.argv[1:]
    assert separator == "--" and command, __doc__
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/provider"
        server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
        server.add_generic_rpc_handlers((Provider(json.loads(Path(schema).read_text())),))
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        address = {"Network": "unix", "String": socket}
        attached = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}
        attached = json.dumps({"hashicorp/aws": attached})
        code = subprocess.run(command, env=os.environ | {"TF_REATTACH_PROVIDERS": attached}).returncode
        server.stop(None)
    sys.exit(code)


if __name__ == "__main__":
    main()
