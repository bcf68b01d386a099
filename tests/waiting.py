"""How long tests wait for what must come."""

ENOUGH = 600.0  # seconds; what takes longer never comes, also on a machine that is busy with other things
