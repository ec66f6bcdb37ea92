"""``ader-stream models``: list versions, and choose which one serves and is trained from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ader_stream.cli.extras import require
from ader_stream.cli.options import connect, json_option, kafka_options, read_duration
from ader_stream.cli.tables import print_table
from ader_stream.cli.whole_help import WholeHelpGroup
from ader_stream.errors import ArtifactError, InputError
from ader_stream.paired import NO_PAIRED_CLICKS, Pair, PairedCounts
from ader_stream.settings import Settings
from ader_stream.stream.avro.plain import to_plain
from ader_stream.stream.control.commands import Command, ask
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.pruning import SCORING, prunable
from ader_stream.stream.model_registry.registry import Registry, read_registry
from ader_stream.stream.scores.paired_log import read_paired
from ader_stream.stream.topics.topics import check_topics
from ader_stream.versions.history import comparisons, decisions, differences, history, roles
from ader_stream.versions.promotion import wait_until_better

NO_VERSION = "there is no version yet; the trainer publishes the first one after the first block"

version_argument = click.argument("version", type=click.IntRange(1))


@click.group(cls=WholeHelpGroup)
def models() -> None:
    """List and manage versions of the model: which one serves, which one is trained from."""


@models.command("list")
@json_option
@kafka_options
def list_(as_json: bool, settings: Settings) -> None:
    """List every version and its state; its Recall@20 at the gate, and its parent's."""
    rows = history(_registry(settings, "list"))
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    if not rows:
        click.echo(NO_VERSION)
        return
    shown = ("version", "parent", "blocks", "roles", "items", "recall20", "published")
    table = []
    for row in rows:
        recalls = [_cell(row[name]) for name in ("recall20", "parent_recall20")]
        published = row["published"].replace("T", " ")[: len("2026-01-31 09:00")]
        cells = row | {"recall20": " / ".join(filter(None, recalls)), "published": published}
        table.append([_cell(cells[name]) for name in shown])
    print_table(shown, table)


@models.command()
@version_argument
@json_option
@kafka_options
def show(version: int, as_json: bool, settings: Settings) -> None:
    """Print the data of a version; with --json, its manifest to the last chunk."""
    registry = _registry(settings, "show")
    manifest = _manifest(registry, version)
    signature = _signature(registry, version, settings)
    compared = read_paired(settings.clients, settings.topics.scores)
    said = {
        "signature": signature,
        "decisions": decisions(registry.commands, version),
        "compared": [*comparisons(compared, version)],
    }
    if as_json:
        click.echo(json.dumps(to_plain(manifest) | said))
        return
    chunks = {part.kind: len(part.chunks) for part in manifest.parts}
    sizes = {part.kind: part.size for part in manifest.parts}
    known = to_plain(manifest) | {
        "parts": {"bytes": sizes, "chunks": chunks},
        "frequent_items": len(manifest.frequent_items),
    }
    if learning := known["run"]["learning"]:
        learning["sample_rows"] = len(learning["sample_rows"])
    known |= {"roles": roles(registry, version)} | said
    click.echo(json.dumps(known, indent=2))


@models.command()
@click.argument("versions", type=click.IntRange(1), nargs=-1)
@json_option
@kafka_options
def verify(versions: tuple[int, ...], as_json: bool, settings: Settings) -> None:
    """Read versions as a worker does, and report whether they can be used; by default all.

    Also prints whose key has signed them. Exits with 1 if one cannot be used.
    """
    from ader_stream.versions.load import load_state  # noqa: PLC0415 - loads torch

    registry = _registry(settings, "verify")
    reader = ModelReader(settings.clients, settings.topics, settings.trust)
    if not (registry.manifests or as_json):
        click.echo(NO_VERSION)
    broken = []
    for version in versions or sorted(registry.manifests):
        manifest, reason = _manifest(registry, version), None
        try:
            if manifest.parts:
                load_state(reader, manifest)
        except ArtifactError as error:
            reason = f"{error.reason}: {error}"
            broken.append(version)
        signature = _signature(registry, version, settings)
        found = {"version": version, "usable": reason is None, "reason": reason}
        result = reason or f"as published, {_signed(signature)}"
        click.echo(
            json.dumps(found | {"signature": signature})
            if as_json
            else f"version {version}: {result}"
        )
    if broken:
        raise ArtifactError(f"{len(broken)} versions cannot be used: {broken}")


@models.command()
@click.argument("one", type=click.IntRange(1))
@click.argument("other", type=click.IntRange(1))
@json_option
@kafka_options
def diff(one: int, other: int, as_json: bool, settings: Settings) -> None:
    """Show the differences between two versions."""
    registry = _registry(settings, "diff")
    found = differences(_manifest(registry, one), _manifest(registry, other))
    if as_json:
        click.echo(json.dumps({name: [ours, theirs] for name, ours, theirs in found}))
        return
    rows = [(name, _cell(ours), _cell(theirs)) for name, ours, theirs in found]
    print_table(("field", str(one), str(other)), rows)


@models.command()
@version_argument
@click.option(
    "--canary",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the session keys, by hash, that still get the newest version.",
)
@kafka_options
def pin(version: int, canary: float | None, settings: Settings) -> None:
    """Serve a version, whatever is published after it; training continues."""
    _accepted(_registry(settings, "pin"), version)
    _ask(settings, Command("pin", version, share=canary))


@models.command()
@kafka_options
def unpin(settings: Settings) -> None:
    """Serve the newest version again."""
    _registry(settings, "unpin")
    _ask(settings, Command("unpin"))


@models.command()
@click.option(
    "--when-better",
    is_flag=True,
    help="Only if it is certainly better than the stable version on the same clicks: the lower "
    "bound of the difference in Recall@20 is above 0, and MRR@20 is not certainly lower.",
)
@click.option(
    "--wait",
    callback=read_duration,
    metavar="DURATION",
    default="0ms",
    show_default=True,
    help="With --when-better: wait up to this long while it is neither better nor worse.",
)
@click.option(
    "--min-clicks",
    type=click.IntRange(1),
    default=1_000,
    show_default=True,
    help="With --when-better: clicks that must be compared first.",
)
@kafka_options
def promote(when_better: bool, wait: int, min_clicks: int, settings: Settings) -> None:
    """End a canary: its version, and later ones, serve all keys."""
    command = "promote --when-better" if when_better else "promote"
    if wait and not when_better:
        raise click.UsageError("--wait is for --when-better: expected both, or neither")
    if not when_better:
        _ask(settings, Command("promote", _canary(_registry(settings, command)).canary))
        return
    pair, counts = wait_until_better(
        lambda: _compared(settings, _registry(settings, command)), min_clicks, wait / 1000
    )
    click.echo(f"version {pair.canary} minus version {pair.stable}: {counts}")
    reason = f"better than version {pair.stable}: {counts}"
    _ask(settings, Command("promote", pair.canary, reason=reason))


@models.command()
@version_argument
@kafka_options
def rollback(version: int, settings: Settings) -> None:
    """Serve a version and train from it: later versions no longer count; reading continues."""
    registry = _registry(settings, "rollback")
    _accepted(registry, version)
    _ask(settings, Command("rollback", version, newest=max(registry.manifests)))


@models.command()
@click.option(
    "--keep",
    type=click.IntRange(SCORING),
    required=True,
    help="Versions that stay, from the newest back along the parents.",
)
@kafka_options
def prune(keep: int, settings: Settings) -> None:
    """Let the trainer delete old versions, and the sessions that only they were trained on.

    The served version stays, pinned or not, and so do the newest one and those that a rollback
    needs.
    """
    doomed = prunable(_registry(settings, "prune"), keep)
    if not doomed:
        click.echo("nothing to delete")
        return
    ask(settings.clients, settings.topics, Command("prune", versions=tuple(doomed)))
    click.echo(
        f"versions {_cell(doomed)}: the leading trainer deletes them when it is not training"
    )


@models.command()
@version_argument
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--without-onnx", is_flag=True, help="Leave model.onnx out: the extra `onnx` is not needed."
)
@kafka_options
def export(version: int, folder: Path, without_onnx: bool, settings: Settings) -> None:
    """Write a version into a folder that plain safetensors, JSON and ONNX readers open."""
    if not without_onnx:
        require("onnx", "onnxscript")  # before anything is read
    from ader_stream.versions.export import export_version  # noqa: PLC0415 - loads torch

    manifest = _manifest(_registry(settings, "export"), version)
    reader = ModelReader(settings.clients, settings.topics, settings.trust)
    export_version(reader, manifest, folder, settings.signer, with_onnx=not without_onnx)
    click.echo(f"version {version} is in {folder}")


@models.command("import")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@kafka_options
def import_(folder: Path, settings: Settings) -> None:
    """Start a cluster from an exported version: it becomes version 1 of an empty model log."""
    from ader_stream.versions.export import import_version, read_folder  # noqa: PLC0415 - loads torch

    manifest, parts = read_folder(folder, settings.trust)
    if _registry(settings, "import").manifests:
        raise InputError(
            f"{settings.topics.models} has versions already; import into a new kafka.prefix"
        )
    publisher = ModelPublisher(
        settings.clients, settings.topics, settings.trainer.chunk_size, settings.signer
    )
    published = import_version(publisher, manifest, parts)
    click.echo(f"version 1 is published, digest {published.digest[:12]}")


def _registry(settings: Settings, command: str) -> Registry:
    connect(settings, f"models {command}")
    check_topics(settings.clients.admin(), settings.topics)
    return read_registry(settings.clients, settings.topics, settings.trust)


def _canary(registry: Registry) -> Pair:
    served, candidate = registry.roles.served, registry.roles.candidate
    if served is None or candidate is None:
        raise InputError("there is no canary to promote; `models pin V --canary SHARE` starts one")
    return Pair(served, candidate)


def _compared(settings: Settings, registry: Registry) -> tuple[Pair, PairedCounts]:
    pair = _canary(registry)
    compared = read_paired(settings.clients, settings.topics.scores)
    return pair, compared.get(pair, NO_PAIRED_CLICKS)


def _manifest(registry: Registry, version: int) -> Manifest:
    if version not in registry.manifests:
        known = _cell(sorted(registry.manifests))
        there_are = f"there are {known}" if known else NO_VERSION
        raise InputError(f"version {version} does not exist; {there_are}")
    return registry.manifests[version]


def _signature(registry: Registry, version: int, settings: Settings) -> dict[str, Any] | None:
    """Return the key that has signed a version; the signature of a trusted one was verified."""
    key = registry.signers[version]
    return {"key": key, "trusted": key in settings.trust.keys.keys} if key else None


def _signed(signature: dict[str, Any] | None) -> str:
    if signature is None:
        return "unsigned"
    how = "trusted" if signature["trusted"] else "not one of models.trusted_keys, unverified"
    return f"signed by the key {signature['key']} ({how})"


def _accepted(registry: Registry, version: int) -> None:
    manifest = _manifest(registry, version)
    if not manifest.is_accepted:
        raise InputError(f"version {version} was rejected: {manifest.rejection}")


def _ask(settings: Settings, command: Command) -> None:
    ask(settings.clients, settings.topics, command)
    current = read_registry(settings.clients, settings.topics, settings.trust).roles
    canary = f", canary {current.candidate} for {current.share:.0%}" if current.candidate else ""
    served, parent = current.served or "no version yet", current.parent or "no version"
    click.echo(f"serving {served}{canary}, training from {parent}")


def _cell(value: object) -> str:
    """Return a value as the text of a table cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)
