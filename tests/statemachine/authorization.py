"""The roles of the deployed functions, as IAM has them."""

import json

from ekyc.localaws.iam.policies import Need, Statement, parse
from ekyc.localaws.server import LocalAws


class Roles:
    """The statements of each function's role, and each function's title, by the functions' deployed names."""

    def __init__(self, local_aws: LocalAws) -> None:
        iam = local_aws.client("iam")
        pages = local_aws.client("lambda").get_paginator("list_functions").paginate()
        functions = {one["FunctionName"]: one for page in pages for one in page["Functions"]}
        self.titles = {
            name: one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] for name, one in functions.items()
        }
        self.statements: dict[str, list[Statement]] = {}
        for name, one in functions.items():
            role = one["Role"].rpartition("/")[2]
            self.statements[name] = [
                statement
                for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
                for statement in parse(
                    json.dumps(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"])
                )
            ]

    def allows(self, function: str, need: Need) -> bool:
        """Whether a statement of the function's role allows the need."""
        return any(statement.applies(need) for statement in self.statements[function])
