"""What serves and what the next parent is: a function of `models` and `control` alone.

The **line** is the version that the next update cycle starts from, and its ancestors. A rejected
version is never part of it, nor is one that was rolled back: after ``rollback V``, requested when N
was the newest, a later version belongs to the line if its parent is V or belongs to it. A version
that was trained from N at the time of the rollback does not.

A **canary** is the newest version of the line, beside a pinned one. A fallback ends the canary of
one version, if it follows the pin and no other command followed: the next version that is published
is a canary again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from ader_stream.stream.control.commands import FALLBACK, SERVING, Command
from ader_stream.stream.model_registry.manifest import Manifest

Manifests = Mapping[int, Manifest]


@dataclass(frozen=True)
class VersionRoles:
    """The roles of the versions.

    Parameters
    ----------
    line
        Versions from the next cycle's parent to its oldest ancestor that was not pruned.
    serving
        Versions to serve, best first: a worker that cannot load one takes the next.
    candidate
        The canary, which serves a share of the session keys; None without one.
    share
        That share, 0 … 1.
    fallen
        The version that is no longer a canary, because it was worse.
    """

    line: tuple[int, ...] = ()
    serving: tuple[int, ...] = ()
    candidate: int | None = None
    share: float = 0.0
    fallen: int | None = None

    @property
    def parent(self) -> int | None:
        """The version that the next update cycle starts from."""
        return self.line[0] if self.line else None

    @property
    def served(self) -> int | None:
        """The version that serves every session key, except for the canary's share."""
        return self.serving[0] if self.serving else None


def version_roles(manifests: Manifests, commands: Sequence[Command]) -> VersionRoles:
    """Return the roles of the versions.

    Parameters
    ----------
    manifests
        By version, without those that were pruned.
    commands
        In the order of the log, before or after compaction.
    """
    line = _ancestors(manifests, _parent(manifests, commands))
    last = _last(commands, SERVING)
    if last and last.command == "pin" and _is_accepted(manifests, last.version):
        serving, fallen = _ancestors(manifests, last.version), _fallen(commands, last)
        if last.share and line and line[0] not in (last.version, fallen):
            return VersionRoles(line, serving, line[0], last.share, fallen)
        return VersionRoles(line, serving, fallen=fallen)
    return VersionRoles(line, line)


def _fallen(commands: Sequence[Command], pin: Command) -> int | None:
    """Return the version of the last fallback since a pin."""
    since = list(takewhile(lambda command: command is not pin, reversed(commands)))
    last = _last(reversed(since), (FALLBACK,))
    return last.version if last else None


def _parent(manifests: Manifests, commands: Sequence[Command]) -> int | None:
    """Return the version that the next cycle starts from: the newest one not rolled back."""
    rollback = _last(commands, ("rollback",))
    if rollback is None or not _is_accepted(manifests, rollback.version):
        return max((v for v in manifests if _is_accepted(manifests, v)), default=None)
    newest = rollback.newest or 0
    valid = {rollback.version}
    for version in sorted(v for v in manifests if v > newest):
        parent = manifests[version].parent
        # A parent that was pruned had become one after the rollback: it belonged to the line.
        is_pruned = parent is not None and parent > newest and parent not in manifests
        if _is_accepted(manifests, version) and (parent in valid or is_pruned):
            valid.add(version)
    return max(v for v in valid if v is not None) if len(valid) > 1 else rollback.version


def _ancestors(manifests: Manifests, version: int | None) -> tuple[int, ...]:
    """Return a version and its ancestors, newest first, up to the first that was pruned."""
    found = []
    while version is not None and version in manifests:
        found.append(version)
        version = manifests[version].parent
    return tuple(found)


def _last(commands: Iterable[Command], names: Sequence[str]) -> Command | None:
    return next((c for c in reversed(list(commands)) if c.command in names), None)


def _is_accepted(manifests: Manifests, version: int | None) -> bool:
    return version is not None and version in manifests and manifests[version].is_accepted
