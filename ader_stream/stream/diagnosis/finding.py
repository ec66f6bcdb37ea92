"""What a check has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "warning", "waiting", "error"]
"""``waiting``: nothing is wrong, but no session would come of what is there now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    level
        How grave it is.
    text
        What was found, with the value and what was expected.
    remedy
        What to do; empty where nothing is to be done.
    details
        The numbers in the text, for programs.
    check
        Name of the check.
    """

    level: Level
    text: str
    remedy: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    check: str = ""
