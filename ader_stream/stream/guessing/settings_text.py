"""Write a proposal as a settings file; what supports each line stands above it, as a comment."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ader_stream.stream.guessing.candidates import Choice
from ader_stream.stream.guessing.columns import MOST_LEAVES
from ader_stream.stream.guessing.contents import FRAMED, FRAMED_JSON, JSON_LIST, OTHER
from ader_stream.stream.guessing.proposal import Proposal
from ader_stream.types import MINUTE_MS

REMEDIES = {
    FRAMED: "set clicks.registry_url (ADER_CLICKS_REGISTRY_URL), and guess again",
    FRAMED_JSON: "each value starts with the five bytes of a schema registry's header",
    JSON_LIST: "write one record for each click",
    OTHER: "for Avro without a registry, name its schema (clicks.avro_schema) and guess again",
}
"""Kind of value that was not read → what can be done."""


def settings_text(proposal: Proposal, topic: str) -> str:
    """Return the settings file, TOML; a setting without a candidate is a comment.

    Nothing of it is certain: the alternatives of each choice are beside it.
    """
    return "\n".join(_lines(proposal, topic)) + "\n"


def _lines(proposal: Proposal, topic: str) -> Iterator[str]:
    yield from _sample(proposal)
    yield "[clicks]"
    yield f"topic = {_quoted(topic)}"
    if not proposal.contents.format:
        return
    yield f"format = {_quoted(proposal.contents.format)}"
    yield from _field("session_field", proposal.session)
    yield from _partitioning(proposal)
    yield from _field("item_field", proposal.item)
    yield from _field("time_field", proposal.time)
    if proposal.time:
        yield f"time_format = {_quoted(proposal.time.best.unit)}"
    yield from _filter(proposal)
    if proposal.placeholders:
        yield "# By their names, these keys are no visitors."
        yield f"ignore_keys = [{', '.join(map(_quoted, proposal.placeholders))}]"
    if proposal.event_id:
        yield "# All its values differ; set it if it is the same where a click is sent again:"
        yield f"# event_id_field = {_quoted(proposal.event_id)}"
    if proposal.gap_evidence:
        yield ""
        yield "[sessions]"
        yield f"# {_comment(proposal.gap_evidence)}."
        yield f'gap = "{proposal.gap // MINUTE_MS}m"'


def _sample(proposal: Proposal) -> Iterator[str]:
    contents, columns, outcome = proposal.contents, proposal.columns, proposal.outcome
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in contents.kinds.most_common())
    yield f"# A guess from {contents.sampled:,} records: {kinds or 'the topic is empty'}."
    for kind, remedy in REMEDIES.items():
        if contents.kinds[kind] > 0 and not _reads(proposal, kind):
            yield f"# {contents.kinds[kind]:,} were not read ({kind}): {remedy}."
    if columns.left_out or columns.cut:
        yield (
            f"# Not compared: {columns.left_out:,} rare fields, and all beyond {MOST_LEAVES:,} "
            f"values of {columns.cut:,} records."
        )
    if columns.unnamed:
        yield f"# {columns.unnamed:,} names of fields, empty or with a line break, fit in no path."
    for path in columns.lists[:5]:
        yield f"# {_comment(path)} is a list of objects; only the first of them was compared."
    if outcome.clicks or outcome.refused:
        refused = outcome.refused.total()
        yield (
            f"# With these settings: {outcome.clicks:,} clicks in {outcome.sessions:,} sessions, "
            f"{outcome.ignored:,} records ignored, {refused:,} dead letters."
        )
    for doubt in proposal.doubts:
        yield f"# CHECK: {_comment(doubt)}."
    yield ""


def _reads(proposal: Proposal, kind: str) -> bool:
    return {"avro-registry": FRAMED, "avro": OTHER}.get(proposal.contents.format) == kind


def _field(name: str, choice: Choice | None) -> Iterator[str]:
    if choice is None:
        yield f"# No field of the sample can be it:\n# {name} = "
        return
    yield f"# {_comment(choice.best.evidence)}."
    yield f"{name} = {_quoted(choice.best.path)}"
    if choice.same:
        yield f"# the same value in each record: {', '.join(map(_quoted, choice.same))}"
    for other in choice.alternatives:
        unit = f", time_format = {_quoted(other.unit)}" if other.unit else ""
        yield f"# or {_quoted(other.path)}{unit}: {_comment(other.evidence)}"


def _partitioning(proposal: Proposal) -> Iterator[str]:
    if proposal.without_key and proposal.partitions > 1:
        yield (
            f"# {proposal.without_key:,} records have no record key: Kafka spreads them over all "
            "partitions; produce them with the session key."
        )
    if proposal.scattered:
        yield (
            f"# {proposal.scattered:,} session keys are in several of {proposal.partitions} "
            "partitions: their sessions would be cut apart."
        )


def _filter(proposal: Proposal) -> Iterator[str]:
    if not proposal.where:
        return
    for kind in proposal.kinds.kinds if proposal.kinds else ():
        verdict = f"no click: {kind.reason}" if kind.reason else "click"
        yield f"# {_quoted(kind.value or '')}: {kind.records:,} records, {_comment(verdict)}"
    if not proposal.kinds:
        yield "# The other records have no item."
    yield f"where = {_quoted(proposal.where)}"


def _quoted(text: str) -> str:
    r"""Return a text as TOML has it.

    >>> _quoted('a"b')
    '"a\\"b"'
    """
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    """Return a text without line breaks and other characters that a comment may not hold."""
    return "".join(character if character.isprintable() else " " for character in text)
