"""All changes to moto. `apply` is the only entry point.

Each module patches one part of moto in its function `patch`, with `border.replace` and `border.add`. Comments say how
moto differs from AWS. No other package changes moto.
"""

from __future__ import annotations

from ekyc.localaws.moto_patches.border import check_version, report_missing


def apply() -> None:
    """Patch moto for the life of this process.

    Raises:
        MotoChanged: the installed version is not the tested one, or moto lacks something that a patch needs.
    """
    check_version()
    with report_missing():
        # Imported late: these modules import moto.
        from ekyc.localaws.moto_patches import (
            asl,
            cloudformation,
            cognito,
            eventbridge,
            invocations,
            kms,
            map_runs,
            moto_time,
            server,
            stand_ins,
            state_machines,
            stepfunctions,
            storage,
        )

        for part in (
            moto_time,
            server,
            storage,
            kms,
            cloudformation,
            cognito,
            invocations,
            eventbridge,
            asl,
            state_machines,
            stepfunctions,
            map_runs,
            stand_ins,
        ):
            part.patch()
