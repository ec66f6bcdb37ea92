"""Exit codes: 0 done, 1 failed, 2 wrong input or settings, 130 interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ader_stream.errors import AderError, InputError

FAILED = 1
WRONG_INPUT = 2
INTERRUPTED = 130


def exit_code(work: Callable[[], int | None]) -> int:
    """Do `work` and return its exit code; an error raised on purpose becomes one line and code."""
    try:
        return work() or 0
    except InputError as error:
        return _fail(str(error), WRONG_INPUT)
    except AderError as error:
        return _fail(str(error), FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)


def _fail(reason: str, code: int) -> int:
    print(f"ader-stream: {reason}", file=sys.stderr)  # noqa: T201 - what the user is to read
    return code
