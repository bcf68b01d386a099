"""Everything that changes moto, behind one border: `apply`.

Each module of this folder patches one part of moto in its function `patch`, through `border.replace` and `border.add`,
and its comments say what moto does otherwise than AWS. No other folder changes moto.
"""

from __future__ import annotations

from ekyc.localaws.moto_patches.border import check_version, say_what_is_gone


def apply() -> None:
    """Patch moto for the life of this process.

    Raises:
        MotoChanged: moto has another version than the tested one, or lacks something that a patch needs.
    """
    check_version()
    with say_what_is_gone():
        # Imported here, as they import moto.
        from ekyc.localaws.moto_patches import (
            asl,
            cloudformation,
            eventbridge,
            invocations,
            kms,
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
            invocations,
            eventbridge,
            asl,
            state_machines,
            stepfunctions,
            stand_ins,
        ):
            part.patch()
