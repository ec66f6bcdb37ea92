"""Describe versions for people: a row a version, roles, and differences between two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ader_stream.paired import Difference, Pair, PairedCounts
from ader_stream.stream.avro.plain import to_plain
from ader_stream.stream.control.commands import Command
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.registry import Registry

PLACES = ("parts", "places", "offsets", "frequent_items", "losses")
"""Fields that differ whenever the digest does, or whose values fill the screen."""


def history(registry: Registry) -> list[dict[str, Any]]:
    """Return a row for every version, oldest first, in plain values."""
    return [_row(registry, manifest) for _, manifest in sorted(registry.manifests.items())]


def roles(registry: Registry, version: int) -> list[str]:
    """Return the present roles of a version, among them serving, canary and parent."""
    current, manifest = registry.roles, registry.manifests[version]
    found = {
        "serving": version == current.served,
        "canary": version == current.candidate,
        "parent": version == current.parent,
        "fallen back": version == current.fallen,
        "rejected": not manifest.is_accepted,
        "rolled back": manifest.is_accepted and _is_passed_over(registry, version),
    }
    return [role for role, holds in found.items() if holds]


def comparisons(compared: Mapping[Pair, PairedCounts], version: int) -> Iterator[dict[str, Any]]:
    """Yield the scores of a canary or stable version on the clicks that both have scored."""
    for pair, counts in compared.items():
        if version in pair:
            yield pair._asdict() | {
                "clicks": counts.clicks,
                "recall20": _compared(counts.stable_recall20, counts.recall20),
                "mrr20": _compared(counts.stable_mrr20, counts.mrr20),
            }


def _compared(stable: float, difference: Difference) -> dict[str, float]:
    """Describe two scores in percent, and their difference in percentage points."""
    shares = {"stable": stable, "canary": stable + difference.estimate} | {
        "difference": difference.estimate,
        "lower": difference.lower,
        "upper": difference.upper,
    }
    return {name: round(100 * share, 4) for name, share in shares.items()}


def decisions(commands: Iterable[Command], version: int) -> list[dict[str, Any]]:
    """Return the commands about a version that have a measured reason."""
    return [
        {"command": command.command, "at": _iso(command.at), "reason": command.reason}
        for command in commands
        if command.version == version and command.reason
    ]


def differences(one: Manifest, other: Manifest) -> list[tuple[str, Any, Any]]:
    """Return the fields in which two manifests differ, with both values."""
    ours, theirs = dict(_leaves(to_plain(one))), dict(_leaves(to_plain(other)))
    names = sorted(ours.keys() | theirs.keys())
    return [
        (name, ours.get(name), theirs.get(name))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def _is_passed_over(registry: Registry, version: int) -> bool:
    """Return whether a rollback, now or earlier, excluded a version from the line."""
    current, manifests = registry.roles, registry.manifests
    return version > (current.parent or 0) or any(
        (manifests[child].parent or 0) < version < child for child in current.line
    )


def _row(registry: Registry, manifest: Manifest) -> dict[str, Any]:
    report, gate = manifest.report, manifest.gate
    return {
        "version": manifest.version,
        "parent": manifest.parent,
        "predecessor": manifest.predecessor,
        "blocks": list(manifest.blocks),
        "status": manifest.status,
        "roles": roles(registry, manifest.version),
        "items": report.items,
        "exemplars": report.exemplars,
        "validation_recall20": max(report.validation_recall20, default=None),
        "recall20": gate.recall20 if gate else None,
        "parent_recall20": gate.parent_recall20 if gate else None,
        "bytes": manifest.size,
        "digest": manifest.digest,
        "published": _iso(manifest.run.published_at),
        "rejection": manifest.rejection,
    }


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="seconds")


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if name in PLACES:
            continue
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", inner
