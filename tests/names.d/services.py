"""What stands at local servers, as they tell it."""

import json
import urllib.parse
import urllib.request

# Local servers read the form of a signature and nothing more.
NOBODY = "AWS4-HMAC-SHA256 Credential=local/20260101/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"


def dynamodb(address, operation, **what):
    headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0", "Authorization": NOBODY}
    request = urllib.request.Request(address, json.dumps(what).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def sqs(address, operation, **what):
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    request = urllib.request.Request(address, json.dumps(what).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def tables(address):
    """By name, in the form of tests/terraform --names."""
    found = {}
    for name in dynamodb(address, "ListTables")["TableNames"]:
        table = dynamodb(address, "DescribeTable", TableName=name)["Table"]
        types = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in table["AttributeDefinitions"]}
        expiry = dynamodb(address, "DescribeTimeToLive", TableName=name)["TimeToLiveDescription"]
        indexes = {
            index["IndexName"]: keys(index["KeySchema"], types) | {"projection": index["Projection"]["ProjectionType"]}
            for index in table.get("GlobalSecondaryIndexes", [])
        }
        found[name] = keys(table["KeySchema"], types) | {"indexes": indexes, "expires_by": expiry.get("AttributeName")}
    return found


def keys(schema, types):
    words = {"HASH": "hash_key", "RANGE": "range_key"}
    return {words[key["KeyType"]]: {key["AttributeName"]: types[key["AttributeName"]]} for key in schema}


def queues(address):
    """Attributes by name."""
    found = {}
    for url in sqs(address, "ListQueues").get("QueueUrls", []):
        name = urllib.parse.urlparse(url).path.rsplit("/", 1)[1]
        found[name] = sqs(address, "GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found
