"""What the stack's Cognito user pools have in common. The operator invites their users."""

from collections.abc import Sequence

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


def code_flow(callback_urls: Sequence[str], logout_urls: Sequence[str] | None = None) -> cognito.OAuthSettings:
    """Return the settings of an app client whose users sign in with an authorization code, and in no other way."""
    return cognito.OAuthSettings(
        flows=cognito.OAuthFlows(authorization_code_grant=True),
        scopes=list(SCOPES),
        callback_urls=list(callback_urls),
        logout_urls=None if logout_urls is None else list(logout_urls),
    )
