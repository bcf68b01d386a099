"""The CDK app. ``cdk synth`` and ``cdk deploy`` run it.

Without the CDK CLI, set the variables CDK_OUTDIR and CDK_CONTEXT_JSON.
"""

import os
import sys
from pathlib import Path

import stacks  # noqa: F401  # sets the path of the Node that aws_cdk starts on import

# isort: split
import aws_cdk as cdk

from stacks.runtime import LayerMissingError
from stacks.settings import Settings, SettingsError
from stacks.stack import TrainingStack
from stacks.yaml_source import SourceError

LAYERS = Path(__file__).resolve().parent / "build" / "layers"

app = cdk.App()
try:
    settings = Settings.from_context(app.node.get_all_context(), region=os.environ.get("CDK_DEFAULT_REGION", ""))
    TrainingStack(app, settings, layers=LAYERS)
except (SourceError, LayerMissingError, SettingsError) as error:
    sys.exit(str(error))
app.synth()
