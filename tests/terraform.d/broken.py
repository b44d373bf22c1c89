"""The checks see what they are for: each mistake is made once in a copy, and one of them has to name it.

    python broken.py SCHEMA.json
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import check_policies
import check_schema
import check_style
from hcl import TERRAFORM

# file, what stands there, what stands there instead, words that must be said
MISTAKES = [
    ("modules/queue/main.tf", 'resource "aws_sqs_queue" "this"', 'resource "aws_sqs_qeue" "this"', "there is no aws_sqs_qeue"),
    ("modules/queue/main.tf", "message_retention_seconds =", "message_retention_second =", "no argument message_retention_second"),
    ("modules/queue/alarms.tf", '  alarm_name        = "${var.name}-${each.key}"\n', "", "alarm_name is required"),
    ("modules/queue/main.tf", "each.value.url", "aws_sqs_queue.this.address", "has no address"),
    ("modules/table/main.tf", "point_in_time_recovery {", "point_in_time {", "there is no block point_in_time"),
    ("modules/table/main.tf", 'dynamic "ttl"', 'dynamic "expiry"', "there is no block expiry"),
    ("modules/key/main.tf", "  description  ", "  arn = local.account\n  description  ", "arn is read, not set"),
    ("main.tf", "  receives_max  ", "  receive_max  ", "there is no variable receive_max"),
    ("main.tf", "  alarm_depth                   = var.alarm_depth\n", "", "alarm_depth is required"),
    ("outputs.tf", "queue.dead_letters_url", "module.key.id", "module.key has no output id"),
    ("access.tf", '["sqs:GetQueueUrl"]', '["sqs:Get*"]', "Action has a wildcard: sqs:Get*"),
    ("access.tf", '[module.table["state"].arn]', '["*"]', "Resource has a wildcard: *"),
    ("modules/bucket/policy.tf", "Action = [", "NotAction = [", "NotAction is everything but what it names"),
    ("modules/key/policy.tf", '["kms:CreateGrant"]', '["kms:*"]', "Action has a wildcard: kms:*"),
    ("modules/key/policy.tf", "{ AWS = var.users }", '{ AWS = "*" }', "everybody is allowed something"),
    ("modules/queue/policies.tf", "[queue.arn]", '["arn:aws:sqs:*:*:*"]', "Resource has a wildcard: arn:aws:sqs:*:*:*"),
    ("roles.tf", '"read_live_ids", "store_limits",\n        "decrypt_items"', '"store_limits",\n        "decrypt_items"',
     "role merge-newest: dynamodb:Query messages/index/live_ids is called, but not allowed"),
    ("roles.tf", '"work_on_organizations", "send_rooms", "store', '"work_on_organizations", "send_organizations", "send_rooms", "store',
     "role collect-rooms: sqs:SendMessage organizations is allowed, but not called"),
    ("roles.tf", '"read_messages", "look_up_limits"', '"write_messages", "look_up_limits"',
     "role serve-reads: dynamodb:PutItem messages is allowed, but not called"),
    ("access.tf", '["idempotency"]', '["idempotence"]', "records idempotency/ of the table of state, which no role reaches"),
    ("access.tf", '["dynamodb:BatchGetItem", "dynamodb:PutItem"]', '["dynamodb:BatchGetItem", "dynamodb:Scan"]',
     "Scan is allowed, but never called by lib/aws"),
    ("variables.tf", '  description = "Tags of everything that is made."\n', "", "variable tags has no description"),
    ("variables.tables.tf", "  type        = bool\n", "", "variable deletion_protection has no type"),
    ("main.tf", "var.alarm_depth", "1", "variable alarm_depth is not used"),
    ("variables.queues.tf", "default     = 100\n", "default     = 99\n", "the tables of README.md are not those of the module"),
    ("tests/refused_key.tftest.hcl", "    var.services,\n", "", "variable services has 1 validations, and 0 tests"),
    ("versions.tf", '">= 6.25.0, < 7.0.0"', '">= 6.25.0"', "provider aws has no upper bound"),
]


def said(schema, root):
    return "\n".join([*check_schema.check(schema, root), *check_policies.check(root), *check_style.check(root)])


def main():
    schema, wrong = json.loads(Path(sys.argv[1]).read_text()), 0
    for name, before, after, words in MISTAKES:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(shutil.copytree(TERRAFORM, Path(folder, "terraform"), ignore=shutil.ignore_patterns(".terraform")))
            file = root / name
            source = file.read_text()
            if before not in source:
                print(f"{name}: the mistake cannot be made, {before!r} is not there")
                wrong += 1
                continue
            file.write_text(source.replace(before, after, 1))
            if words not in said(schema, root):
                print(f"{name}: {before!r} -> {after!r} was not noticed ({words})")
                wrong += 1
    print(f"{len(MISTAKES) - wrong} of {len(MISTAKES)} mistakes noticed")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
