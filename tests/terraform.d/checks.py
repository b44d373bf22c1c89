"""All checks that need no Terraform.

    python checks.py SCHEMA.json     looks
    python checks.py --docs          writes the tables of the READMEs
"""

import json
import sys
from pathlib import Path

import check_atlantis
import check_policies
import check_schema
import check_style
from hcl import TERRAFORM


def main():
    if sys.argv[1] == "--docs":
        return check_style.write_readmes(TERRAFORM)
    schema = json.loads(Path(sys.argv[1]).read_text())
    checks = {
        "every resource, argument, block and module call is one that there is": check_schema.check(schema, TERRAFORM),
        "no policy has a wildcard, and each role may do exactly what its job calls": check_policies.check(TERRAFORM),
        "everything is described, typed, validated, refused in a test and used; the READMEs are true": check_style.check(TERRAFORM),
        "Atlantis plans what changes and waits for people": check_atlantis.check(),
    }
    failed = False
    for promise, found in checks.items():
        wrong = list(found)
        failed |= bool(wrong)
        print("\n".join([f"not true: {promise}", *(f"  {one}" for one in wrong)]) if wrong else promise)
    return failed


if __name__ == "__main__":
    sys.exit(main())
