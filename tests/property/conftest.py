from __future__ import annotations

from hypothesis import settings

# A deadline for each example would make these timed tests: they fail where a machine is busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
