"""The sign-in of people to the labelling page: the user pool, its groups, and the page's app client."""

from collections.abc import Mapping
from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from rules.people import GROUPS
from stacks.settings import Settings
from stacks.users import SCOPES, add_client, add_domain, invited_users

INVITATION = """\
You are invited to label photos of identity documents. Open {page}, and sign in with the e-mail address {{username}} \
and the temporary password {{####}}, which is valid for three days. The photos are personal data: show them to nobody.
"""


class SignIn(Construct):
    """The user pool of the setting ``labellingUserPool``, with an app client for the labelling page.

    The app client is public, because a web page can keep no secret. Its users sign in with an authorization code, and
    the page proves with PKCE that it requested the code.
    """

    def __init__(self, scope: Construct, id: str, *, settings: Settings, api_url: str) -> None:
        super().__init__(scope, id)
        page = f"{api_url}/labelling/"
        if settings.labelling_user_pool == "create":
            self.pool: cognito.IUserPool = invited_users(
                self,
                "Users",
                aliases=cognito.SignInAliases(email=True),
                invitation=cognito.UserInvitationConfig(
                    email_subject="Invitation to label photos", email_body=INVITATION.format(page=page)
                ),
            )
            self.url = add_domain(self.pool, "Domain", prefix="labelling").base_url()
        else:
            self.pool = cognito.UserPool.from_user_pool_arn(self, "Users", settings.labelling_user_pool)
            self.url = settings.labelling_sign_in_url
        for name, description in GROUPS.items():
            cognito.CfnUserPoolGroup(
                self,
                name.capitalize(),
                user_pool_id=self.pool.user_pool_id,
                group_name=name,
                description=description,
            )
        self.client = add_client(
            self.pool,
            "LabellingPage",
            has_secret=False,
            callback_urls=[page],
            logout_urls=[page],
            id_token_validity=cdk.Duration.minutes(60),
            access_token_validity=cdk.Duration.minutes(60),
            refresh_token_validity=cdk.Duration.hours(12),
            enable_token_revocation=True,
        )

    def authorizer(self) -> apigateway.CognitoUserPoolsAuthorizer:
        """Create the authorizer. It accepts ID tokens of the labelling page's app client only.

        Methods without OAuth scopes take ID tokens. API Gateway compares the token's ``aud`` with the expression, so
        tokens of the pool's other app clients are refused. Sources: API Gateway guide, 'Integrate a REST API with an
        Amazon Cognito user pool'; API Gateway API reference, CreateAuthorizer, identityValidationExpression.
        """
        authorizer = apigateway.CognitoUserPoolsAuthorizer(self, "Authorizer", cognito_user_pools=[self.pool])
        # CognitoUserPoolsAuthorizer has no parameter for this property.
        resource = cast(apigateway.CfnAuthorizer, authorizer.node.default_child)
        resource.identity_validation_expression = self.client.user_pool_client_id
        return authorizer

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the function that tells the page where to sign in."""
        region = cdk.Stack.of(self).region
        return {
            # The issuer in the pool's tokens. Source: Cognito guide, 'Verifying JSON web tokens'.
            "LABELLING_ISSUER": f"https://cognito-idp.{region}.amazonaws.com/{self.pool.user_pool_id}",
            "LABELLING_CLIENT": self.client.user_pool_client_id,
            "LABELLING_SIGN_IN_URL": self.url,
            "LABELLING_SCOPES": ",".join(scope.scope_name for scope in SCOPES),
        }

    @property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs about the labelling page."""
        return {
            "LabellingUserPool": self.pool.user_pool_id,
            "LabellingClient": self.client.user_pool_client_id,
            "LabellingSignInUrl": self.url,
        }
