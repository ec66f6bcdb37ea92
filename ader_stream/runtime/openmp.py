"""Set how OpenMP threads, with which torch computes on CPUs, wait for their next work.

By default they spin. On a core that other processes use too, a thread with work then waits for one
without. Sleeping threads are as fast alone, and several times as fast next to a busy process
(``tests/benchmarks/waiting_policy.py``).
"""

from __future__ import annotations

import os

PASSIVE = ("OMP_WAIT_POLICY", "PASSIVE")


def set_passive_openmp() -> None:
    """Let threads sleep while they wait, unless the environment says how they wait.

    OpenMP reads its environment once, when torch is loaded: each program must call this before
    that. ``GOMP_SPINCOUNT`` and ``KMP_BLOCKTIME`` take precedence where they are set.
    """
    os.environ.setdefault(*PASSIVE)
