"""What the registry looks like to people: a line a version, and where two of them differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ader_stream.stream.models.manifest import REJECTED, Manifest
from ader_stream.stream.models.registry import Registry

PLACES = ("parts", "places", "offsets", "frequent_items", "losses")
"""Fields whose difference says nothing that the digest does not say, or fills the screen."""


def history(registry: Registry) -> list[dict[str, Any]]:
    """Describe every version, oldest first, in plain values."""
    return [_row(registry, manifest) for _, manifest in sorted(registry.manifests.items())]


def roles(registry: Registry, version: int) -> list[str]:
    """Say what a version is now: serving, canary, parent; rolled back or rejected."""
    standing, manifest = registry.standing, registry.manifests[version]
    found = {
        "serving": version == standing.served,
        "canary": version == standing.candidate,
        "parent": version == standing.parent,
        "rejected": manifest["status"] == REJECTED,
        "rolled back": manifest["status"] != REJECTED and _is_passed_over(registry, version),
    }
    return [role for role, holds in found.items() if holds]


def differences(one: Manifest, other: Manifest) -> list[tuple[str, Any, Any]]:
    """List the fields in which two manifests differ, with both values."""
    ours, theirs = dict(_leaves(one)), dict(_leaves(other))
    names = sorted(ours.keys() | theirs.keys())
    return [
        (name, ours.get(name), theirs.get(name))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def size_of(manifest: Manifest) -> int:
    """Bytes of a version, all parts together."""
    return sum(part["size"] for part in manifest["parts"])


def _is_passed_over(registry: Registry, version: int) -> bool:
    """Whether a rollback has led the line past a version, now or before a later one was made."""
    standing, manifests = registry.standing, registry.manifests
    return version > (standing.parent or 0) or any(
        (manifests[child]["parent"] or 0) < version < child for child in standing.line
    )


def _row(registry: Registry, manifest: Manifest) -> dict[str, Any]:
    validation, gate = manifest["report"]["validation_recall20"], manifest["gate"] or {}
    published = datetime.fromtimestamp(manifest["run"]["published_at"] / 1000, UTC)
    return {
        "version": manifest["version"],
        "parent": manifest["parent"],
        "blocks": manifest["blocks"],
        "status": manifest["status"],
        "roles": roles(registry, manifest["version"]),
        "items": manifest["report"]["items"],
        "exemplars": manifest["report"]["exemplars"],
        "validation_recall20": max(validation, default=None),
        "recall20": gate.get("recall20"),
        "parent_recall20": gate.get("parent_recall20"),
        "bytes": size_of(manifest),
        "digest": manifest["digest"],
        "published": published.isoformat(timespec="seconds"),
        "rejection": manifest["rejection"],
    }


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if name in PLACES:
            continue
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", inner
