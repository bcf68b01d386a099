"""Patches moto's Cognito: user pools, their parts and API authorizers in CloudFormation, and a key for each pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from joserfc import jwk
from moto.apigateway.models import apigateway_backends
from moto.cognitoidp.models import CognitoIdpUserPool, cognitoidp_backends
from moto.core.common_models import CloudFormationModel

from ekyc.localaws.moto_patches.border import replace

Created = tuple[str, dict[str, str]]
NOT_CONFIGURATION = ("UserPoolId", "GenerateSecret", "UserPoolName", "UserPoolTags")


def patch() -> None:
    """Patch moto's Cognito, once per process."""
    create = CognitoIdpUserPool.__init__

    # moto signs the tokens of all pools with one key, which is part of the package. Everyone could sign with it.
    def create_with_key(self: Any, *arguments: Any, **named: Any) -> None:
        create(self, *arguments, **named)
        self.json_web_key = jwk.RSAKey.generate_key(2048)

    replace(CognitoIdpUserPool, "__init__", create_with_key)


def _resource(kind: str, create: Callable[[str, Any, Any, Any], Created]) -> type:
    """Define moto's class for the resource type `kind`, which moto's CloudFormation does not have.

    `create` makes a resource with a name and properties in the backends of Cognito and API Gateway. It returns the
    resource's Ref, and the attributes that Fn::GetAtt finds.
    """

    class Resource(CloudFormationModel):
        def __init__(self, id: str, attributes: dict[str, str]) -> None:
            self.physical_resource_id = id
            self._attributes = attributes

        @classmethod
        def has_cfn_attr(cls, _attribute: str) -> bool:
            return True

        def get_cfn_attribute(self, attribute: str) -> str:
            return self._attributes[attribute]

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""

        @staticmethod
        def cloudformation_type() -> str:
            return kind

        @classmethod
        def create_from_cloudformation_json(cls, *arguments: Any, **_: Any) -> Any:
            name, template, account, region = arguments
            backends = (cognitoidp_backends[account][region], apigateway_backends[account][region])
            return cls(*create(name, template["Properties"], *backends))

    return Resource


def _create_pool(name: str, properties: Any, cognito: Any, _gateway: Any) -> Created:
    pool = cognito.create_user_pool(name, _configuration(properties))
    return pool.id, {"Arn": pool.arn}


def _create_client(_name: str, properties: Any, cognito: Any, _gateway: Any) -> Created:
    has_secret = properties.get("GenerateSecret", False)
    client = cognito.create_user_pool_client(properties["UserPoolId"], has_secret, _configuration(properties))
    return client.id, {}


def _create_group(_name: str, properties: Any, cognito: Any, _gateway: Any) -> Created:
    name, description = properties["GroupName"], properties.get("Description", "")
    group = cognito.create_group(properties["UserPoolId"], name, description, None, None)
    return group.group_name, {}


def _create_domain(_name: str, properties: Any, cognito: Any, _gateway: Any) -> Created:
    domain = cognito.create_user_pool_domain(properties["UserPoolId"], properties["Domain"])
    return domain.domain, {}


def _create_authorizer(_name: str, properties: Any, _cognito: Any, gateway: Any) -> Created:
    authorizer = gateway.create_authorizer(
        properties["RestApiId"],
        properties["Name"],
        properties["Type"],
        provider_arns=properties.get("ProviderARNs"),
        identity_source=properties.get("IdentitySource"),
    )
    # moto loses this one, because it misspells its name.
    authorizer.identity_validation_expression = properties.get("IdentityValidationExpression")
    return authorizer.id, {}


def _configuration(properties: Any) -> dict[str, Any]:
    """The resource's properties in the format of the service's API, which has the same names."""
    return {name: value for name, value in properties.items() if name not in NOT_CONFIGURATION}


RESOURCES = [
    _resource("AWS::Cognito::UserPool", _create_pool),
    _resource("AWS::Cognito::UserPoolClient", _create_client),
    _resource("AWS::Cognito::UserPoolGroup", _create_group),
    _resource("AWS::Cognito::UserPoolDomain", _create_domain),
    _resource("AWS::ApiGateway::Authorizer", _create_authorizer),
]
"""The classes, which moto finds as subclasses of its own class."""
