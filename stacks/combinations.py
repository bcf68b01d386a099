"""The combinations of settings that ``docs/settings.md`` names.

The tests, cdk-nag and cfn-lint check each combination.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from stacks.settings import Settings, committed
from stacks.stack import TrainingStack

WORK_TEAM = "arn:aws:sagemaker:eu-west-1:111122223333:workteam/private-crowd/identity-documents"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
USER_POOL = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_aB3dE5gH7"
LABELLERS_POOL = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_zY9xW7vU5"
SIGN_IN_URL = "https://sign-in.example.com"
WEB_ACL = "arn:aws:wafv2:eu-west-1:111122223333:regional/webacl/kyc/1234abcd-12ab-34cd-56ef-1234567890ab"
DETECT_BUCKETS = ("kyc-photos",)
OPERATIONS: Mapping[str, Any] = {
    "modelHours": 12,
    "longRunningModels": "stop",
    "notificationEmail": "mlops@example.com",
    "tags": {"cost-centre": "4711", "team": "kyc"},
}
BROWSER: Mapping[str, Any] = {
    "apiAuthorization": USER_POOL,
    "webOrigins": ["https://kyc.example.com", "http://localhost:3000"],
    "webAclArn": WEB_ACL,
}

COMBINATIONS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "supplied-labels": {"labelProvider": "supplied"},
    "no-labelling-page": {"labelProvider": "supplied", "labellingUserPool": ""},
    "ground-truth": {"labelProvider": "ground-truth", "labellingUserPool": "", "workTeam": WORK_TEAM},
    "created-work-team": {"labelProvider": "ground-truth", "labellingUserPool": "", "workTeam": "create"},
    "labelling-page-in-an-existing-pool": {"labellingUserPool": LABELLERS_POOL, "labellingSignInUrl": SIGN_IN_URL},
    "own-key": {"kmsKeyArn": KEY},
    "called-from-a-browser": BROWSER,
    "watched-closely": OPERATIONS,
    "photos-in-s3": {"detectBuckets": list(DETECT_BUCKETS)},
    "created-api-log-role": {"apiLogRole": "create"},
    "chosen-region": {"region": "eu-west-1"},
    "everything": {
        **BROWSER,
        **OPERATIONS,
        "detectBuckets": list(DETECT_BUCKETS),
        "workTeam": "create",
        "labellingUserPool": LABELLERS_POOL,
        "labellingSignInUrl": SIGN_IN_URL,
        "kmsKeyArn": KEY,
        "auditSigningKeyArn": KEY,
        "apiLogRole": "create",
        "region": "eu-west-1",
    },
}
"""The settings of each combination that differ from the defaults in ``cdk.json``."""


def compose(name: str, outdir: Path) -> tuple[cdk.App, TrainingStack]:
    """Return the app and stack of a combination, not yet synthesized. Its cloud assembly will go to ``outdir``."""
    context = committed() | dict(COMBINATIONS[name])
    return assemble(Settings.from_context(context), outdir, context=context)


def assemble(settings: Settings, outdir: Path, *, context: Mapping[str, Any]) -> tuple[cdk.App, TrainingStack]:
    """Return the app and stack of ``settings`` with empty layers. ``context`` has the CDK's feature flags."""
    app = cdk.App(outdir=str(outdir), context=dict(context))
    with tempfile.TemporaryDirectory() as layers:  # the stack's constructor copies them into the assembly
        for name in ("base", "vision"):
            Path(layers, name, "python").mkdir(parents=True)
        return app, TrainingStack(app, settings, layers=Path(layers))


def synthesize(name: str, outdir: Path) -> Path:
    """Synthesize the combination into ``outdir``. Return the path of its template."""
    app, stack = compose(name, outdir)
    app.synth()
    return outdir / stack.template_file
