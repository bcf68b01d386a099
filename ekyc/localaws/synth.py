"""Synthesizes the stack for the local AWS: the very template that `cdk deploy` uses, with local settings."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ekyc.localaws.errors import LocalAwsError

PROJECT = Path(__file__).resolve().parents[2]
WORK_TEAM = "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/specimen-labellers"
TRACEBACK = re.compile(r"^Traceback .*\n(?: .*\n)+", re.MULTILINE)
LOCAL_SETTINGS: Mapping[str, Any] = {"workTeam": WORK_TEAM}


class SynthesisFailed(LocalAwsError):
    """The CDK app could not be synthesized; the message is what it said."""


def synthesize(out: Path, settings: Mapping[str, Any] = LOCAL_SETTINGS) -> Path:
    """Run `app.py` as the CDK CLI does and return ``out``, the cloud assembly's folder.

    ``settings`` are CDK context values that override those of `cdk.json`.

    Raises:
        SynthesisFailed: with the app's own words, all lines of them.
    """
    context = json.loads((PROJECT / "cdk.json").read_text())["context"] | dict(settings)
    environment = os.environ | {"CDK_OUTDIR": str(out), "CDK_CONTEXT_JSON": json.dumps(context)}
    # Settings are checked against the Region of the credentials, which are not those of the local AWS.
    environment.pop("CDK_DEFAULT_REGION", None)
    # Half of the time goes into CDK's validation of the template, which `make check` does too.
    environment["CDK_VALIDATION"] = "false"
    app = subprocess.run(
        [sys.executable, "app.py"], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    if app.returncode:
        raise SynthesisFailed(TRACEBACK.sub("", app.stderr).strip() or "app.py ended with an error")
    return out
