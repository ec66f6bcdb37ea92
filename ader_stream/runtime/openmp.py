"""How threads of OpenMP, by which torch computes on CPUs, wait for their next piece of work.

By default they spin: on a core that others want, too, the thread that has work then waits for one
that has none. Asleep, they are as fast alone, and several times as fast beside a busy core
(``tests/benchmarks/waiting_policy.py``).
"""

from __future__ import annotations

import os

PASSIVE = ("OMP_WAIT_POLICY", "PASSIVE")


def wait_passively() -> None:
    """Let threads sleep while they wait, unless the environment says how they wait.

    OpenMP reads its environment once, when torch is loaded: to be called by each program before
    that. ``GOMP_SPINCOUNT`` and ``KMP_BLOCKTIME`` still decide where they are set.
    """
    os.environ.setdefault(*PASSIVE)
