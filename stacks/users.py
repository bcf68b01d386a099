"""What the stack's Cognito user pools have in common. The operator invites their users."""

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cognito as cognito
from constructs import Construct

SCOPES = (cognito.OAuthScope.EMAIL, cognito.OAuthScope.OPENID, cognito.OAuthScope.PROFILE)


def invited_users(
    scope: Construct, id: str, *, aliases: cognito.SignInAliases, invitation: cognito.UserInvitationConfig | None = None
) -> cognito.UserPool:
    """Create a user pool whose users an operator invites by e-mail. It is retained when the stack is deleted.

    MFA is required, because managed login does not offer users to set up an optional MFA. Source: Cognito API
    reference, SetUserPoolMfaConfig, MfaConfiguration.
    """
    return cognito.UserPool(
        scope,
        id,
        self_sign_up_enabled=False,
        sign_in_aliases=aliases,
        auto_verify=cognito.AutoVerifiedAttrs(email=True),
        account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
        user_invitation=invitation,
        mfa=cognito.Mfa.REQUIRED,
        mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=False),
        password_policy=cognito.PasswordPolicy(
            min_length=14,
            require_digits=True,
            require_lowercase=True,
            require_symbols=True,
            require_uppercase=True,
            temp_password_validity=cdk.Duration.days(3),
        ),
        feature_plan=cognito.FeaturePlan.PLUS,
        standard_threat_protection_mode=cognito.StandardThreatProtectionMode.FULL_FUNCTION,
        deletion_protection=True,
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )


def add_domain(pool: cognito.IUserPool, id: str, *, prefix: str) -> cognito.UserPoolDomain:
    """Add a domain for the sign-in page: ``prefix`` and the id of the stack, so that it is unique in the Region."""
    stack_id = cdk.Fn.select(2, cdk.Fn.split("/", cdk.Stack.of(pool).stack_id))
    return pool.add_domain(id, cognito_domain=cognito.CognitoDomainOptions(domain_prefix=f"{prefix}-{stack_id}"))


def add_client(
    pool: cognito.IUserPool,
    id: str,
    *,
    has_secret: bool,
    callback_urls: Sequence[str],
    logout_urls: Sequence[str] | None = None,
    **lifetimes: Any,
) -> cognito.UserPoolClient:
    """Add an app client whose users sign in on the page of the pool's domain, with an authorization code.

    The page uses the flows that the client allows. SRP sends no password. ``lifetimes`` are further arguments of
    ``add_client``. Source: Cognito guide, 'Implement authentication flows'.
    """
    return pool.add_client(
        id,
        generate_secret=has_secret,
        prevent_user_existence_errors=True,
        auth_flows=cognito.AuthFlow(user_srp=True),
        supported_identity_providers=[cognito.UserPoolClientIdentityProvider.COGNITO],
        o_auth=cognito.OAuthSettings(
            flows=cognito.OAuthFlows(authorization_code_grant=True),
            scopes=list(SCOPES),
            callback_urls=list(callback_urls),
            logout_urls=None if logout_urls is None else list(logout_urls),
        ),
        **lifetimes,
    )
