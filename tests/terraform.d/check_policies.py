"""Every policy: no action and no resource with a wildcard, and each role's calls exactly those that are expected of it.

Reads the files alone; `terraform test` looks at the same policies when they are evaluated.
"""

import re

from hcl import ROOT, locals_of, modules, text

ELEMENT = re.compile(r"\b(Action|NotAction|Resource|NotResource)\s*=\s*")
# Objects of a bucket that is named before it have no other name for all of them.
OBJECTS = re.compile(r"^\$\{aws_s3_bucket\.\w+\.arn\}/\*$")
# What `lanner provision` alone calls: it is for development, Terraform stands in its place.
DEVELOPMENT = {"CreateQueue", "CreateTable", "UpdateTimeToLive"}
# How the code calls the families of its records in the table of state, and where.
FAMILIES = {
    "lib/aws/src": re.compile(r'const \w+: &str = "(\w+)/'),
    "jobs/src/limits": re.compile(r'const (?:NAME|PLACES|SETS|STATUS): &str = "([\w-]+)/?"'),
    "jobs/src/messages": re.compile(r'(?:const (?:FAMILY|LEASES): &str = "|format!\(")([\w-]+)(?:"|/\{)'),
}


def value_at(source, start):
    """The expression that begins here: to the end of its line, or to its last bracket."""
    depth = 0
    for at, char in enumerate(source[start:], start):
        if char in "[{(":
            depth += 1
        elif char in "]})":
            depth -= 1
            if depth == 0:
                return source[start : at + 1]
            if depth < 0:
                return source[start:at]
        elif char in "\n," and depth == 0:
            return source[start:at]
    return source[start:]


def check_wildcards(root):
    for folder in modules(root):
        for path in sorted(folder.glob("*.tf")):
            source = path.read_text()
            where = f"terraform/{path.relative_to(root)}"
            for found in ELEMENT.finditer(source):
                element, value = found[1], value_at(source, found.end())
                if element.startswith("Not"):
                    yield f"{where}: {element} is everything but what it names"
                for literal in re.findall(r'"((?:[^"\\$]|\\.|\$(?!\{)|\$\{[^}]*\})*)"', value):
                    if "*" in literal and not (element == "Resource" and OBJECTS.match(literal)):
                        yield f"{where}: {element} has a wildcard: {literal}"
            for found in re.finditer(r"\bPrincipal\s*=\s*", source):
                effect = re.findall(r'\bEffect\s*=\s*"(\w+)"', source[: found.start()])[-1:]
                if "*" in value_at(source, found.end()) and effect != ["Deny"]:
                    yield f"{where}: everybody is allowed something"
            for document in re.findall(r"\b(?:data\s+\"aws_iam_policy_document\"|AdministratorAccess|FullAccess)", source):
                yield f"{where}: {document} is not looked at here: write the policy with jsonencode"


def noun(resource):
    """module.queue["rooms"].arn is rooms, its index is messages/index/live_ids, the key is the key."""
    found = re.match(r'\$\{module\.(\w+)(?:\["(\w+)"\])?\.(\w+)\}$', resource)
    if not found:
        return resource
    module, of, output = found.groups()
    if module == "key":
        return "key"
    return of + {"arn": "", "index_arn": "/index/live_ids", "dead_letters_arn": "-dead-letters"}[output]


def statements_by_role(root):
    known = locals_of(root)
    statements, roles = text(known["statements"]), text(known["of_jobs"]) | text(known["of_messages"]) | text(known["of_people"])
    return {role: [statements[name] for name in of["may"]] for role, of in roles.items()}


def granted(root):
    """By role the calls that its statements allow."""
    return {
        role: {f"{action} {noun(resource)}" for of in statements for action in of["Action"] for resource in of["Resource"]}
        for role, statements in statements_by_role(root).items()
    }


def families(root):
    """By role the families of records of the table of state that its statements reach."""
    return {
        role: {family for of in statements for family in families_of(of.get("Condition"))}
        for role, statements in statements_by_role(root).items()
    }


def families_of(condition):
    """Those of the store are bounded by a local that several statements share."""
    if isinstance(condition, str):
        return ["store"] if condition == "${local.records_of_the_store}" else []
    return (condition or {}).get("ForAllValues:StringEquals", {}).get("dynamodb:LeadingKeys", [])


def expected(root):
    """By role the calls that tests/access.tftest.hcl expects."""
    source = (root / "tests/access.tftest.hcl").read_text()
    found = {}
    for at in re.finditer(r'jsondecode\(module\.role\["([\w-]+)"\]\.policy\)[^\n]*\n\s*\]\)\) == toset\(', source):
        calls = re.findall(r'"([^"]+)"', value_at(source, at.end()))
        found[at[1]] = {re.sub(r"arn:aws:kms:\S+", "key", call) for call in calls}
    return found


def check_roles(root):
    may, must = granted(root), expected(root)
    for role in sorted(may.keys() | must.keys()):
        for call in sorted(may.get(role, set()) ^ must.get(role, set())):
            excess = call in may.get(role, set())
            yield f"role {role}: {call} is {'allowed, but not called' if excess else 'called, but not allowed'}"


def check_families(root):
    """The records of the table of state that the code has, and those that roles reach."""
    reached = set().union(*families(root).values())
    used = {
        family: path.name for folder, named in FAMILIES.items() for path in (ROOT / folder).rglob("*.rs")
        for family in named.findall(path.read_text())
    }
    for family in sorted(used.keys() - reached):
        yield f"{used[family]}: records {family}/ of the table of state, which no role reaches (dynamodb:LeadingKeys)"
    for family in sorted(reached - used.keys()):
        yield f"records {family}/ of the table of state: a role reaches them, and no code has them"


def check_code(root):
    """The roles together may do what the code calls, and nothing else at these services."""
    called = set()
    for path in (ROOT / "lib/aws/src").rglob("*.rs"):
        source = path.read_text()
        for operation in re.findall(r"\bclient\(\)\s*\.(\w+)\(\)", source):
            # A batch is allowed by the action of one message; DynamoDB's batches are actions of their own.
            name = "".join(part.capitalize() for part in operation.split("_"))
            called.add(name.removesuffix("Batch"))
    allowed = {call.split()[0].split(":")[1] for calls in granted(root).values() for call in calls if not call.startswith("kms:")}
    for action in sorted((called - DEVELOPMENT) ^ allowed):
        yield f"{action} is {'called by lib/aws, but no role may' if action in called else 'allowed, but never called by lib/aws'}"


def check(root):
    yield from check_wildcards(root)
    yield from check_roles(root)
    yield from check_families(root)
    yield from check_code(root)
