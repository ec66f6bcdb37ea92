"""Put the guesses together, and decode the sample with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ader_stream.errors import ClickError, IgnoredError, SettingsError
from ader_stream.stream.clicks.click_format import ClickFormat
from ader_stream.stream.clicks.decoder import ClickDecoder
from ader_stream.stream.guessing.candidates import Choice, choose
from ader_stream.stream.guessing.categories import KindFilter, kind_filters
from ader_stream.stream.guessing.columns import KEY, TIMESTAMP, Column, Columns, read_columns
from ader_stream.stream.guessing.contents import NULL, Contents
from ader_stream.stream.guessing.items import LEAST_SCORE as LEAST_ITEM
from ader_stream.stream.guessing.items import item_candidates
from ader_stream.stream.guessing.keys import LEAST_SCORE as LEAST_KEY
from ader_stream.stream.guessing.keys import key_candidates
from ader_stream.stream.guessing.times import TimeColumn, time_candidates, time_columns
from ader_stream.stream.guessing.visits import (
    USUAL_GAP_MS,
    Visit,
    cut_visits,
    rows_by_key,
    suggest_gap,
)
from ader_stream.stream.guessing.words import PLACEHOLDERS
from ader_stream.stream.kafka.sampling import SampledRecord

FEWEST_RECORDS = 30
"""With fewer records the shares say little."""

FEW_WITHOUT_ITEM = 0.01


@dataclass(frozen=True)
class Outcome:
    """What the proposal makes of the sample.

    Parameters
    ----------
    clicks, ignored, sessions
        Numbers of them; sessions are cut by the gap alone.
    refused
        Reason of a dead letter → number of records.
    example
        Of a refusal.
    """

    clicks: int = 0
    ignored: int = 0
    sessions: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    example: str = ""


@dataclass(frozen=True)
class Proposal:
    """Proposed settings with their evidence.

    Parameters
    ----------
    contents, columns
        What was sampled.
    session, item, time
        None where nothing in the sample can be it.
    where, kinds, filters
        The filter, the kinds of events behind it, and how many other paths give one.
    event_id
        A path whose values are all different.
    placeholders
        Session keys that are none: `clicks.ignore_keys`.
    gap, gap_evidence
        ms, and why.
    scattered, without_key, partitions
        Session keys in several partitions, records without a record key, and partitions.
    outcome
        Of the sample.
    """

    contents: Contents
    columns: Columns
    session: Choice | None = None
    item: Choice | None = None
    time: Choice | None = None
    where: str = ""
    kinds: KindFilter | None = None
    event_id: str = ""
    placeholders: tuple[str, ...] = ()
    gap: int = USUAL_GAP_MS
    gap_evidence: str = ""
    scattered: int = 0
    without_key: int = 0
    partitions: int = 0
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def missing(self) -> list[str]:
        """Return the settings for which the sample has no candidate."""
        found = {"session_field": self.session, "item_field": self.item, "time_field": self.time}
        return [name for name, choice in found.items() if choice is None]

    @property
    def unread(self) -> int:
        """Return the number of records with a value that was not read."""
        contents = self.contents
        return contents.sampled - contents.kinds[NULL] - len(contents.records)

    @property
    def doubts(self) -> list[str]:
        """Return the reasons to check the proposal before it is used."""
        named = {"session_field": self.session, "item_field": self.item, "time_field": self.time}
        doubts = [f"no field can be clicks.{name}" for name in self.missing]
        doubts += [
            f"clicks.{name}: {', '.join(one.path for one in choice.alternatives)} may be it, too"
            for name, choice in named.items()
            if choice and choice.alternatives
        ]
        if self.time and self.time.best.path == TIMESTAMP:
            doubts.append("no field holds times: the record's own timestamp is when it was written")
        if unread := self.unread:
            doubts.append(f"{unread:,} of {self.contents.sampled:,} records were not read")
        if 0 < self.contents.sampled < FEWEST_RECORDS:
            doubts.append(f"{self.contents.sampled} records are few")
        if refused := self.outcome.refused.total():
            doubts.append(f"{refused:,} records would become dead letters: {self.outcome.example}")
        if self.scattered:
            doubts.append(f"{self.scattered:,} session keys are in several partitions")
        return doubts


def propose(contents: Contents, known: ClickFormat, now: int) -> Proposal:
    """Return what the settings of a topic may be.

    Parameters
    ----------
    known
        Where the schema registry or the schema is.
    now
        Current time, ms: no click is later.
    """
    columns = read_columns(contents.records, contents.fields)
    proposal = Proposal(contents, columns)
    if not contents.records:
        return proposal
    partitions = [record.partition() for record in contents.records]
    all_ = [*columns.by_path.values()]
    times = [*time_columns(all_, partitions, now)]
    time = choose(time_candidates(times))
    time = time and time.without_same({one.path: one.times for one in times})
    ids = {path: column.ids for path, column in columns.by_path.items()}
    session = choose(key_candidates(_not_times(all_, times), _keys(columns), partitions), LEAST_KEY)
    session = session and session.without_same(ids)
    proposal = replace(
        proposal,
        session=session,
        time=time,
        without_key=sum(record.key() is None for record in contents.records),
        partitions=len({*partitions}),
    )
    if session is None or time is None:
        return proposal
    return _with_clicks(proposal, times, known)


def _with_clicks(proposal: Proposal, times: Sequence[TimeColumn], known: ClickFormat) -> Proposal:
    """Add what depends on the session key and the event time: item, filter and gap."""
    assert proposal.session
    assert proposal.time
    columns = proposal.columns.by_path
    session = columns[proposal.session.best.path]
    at = next(one.times for one in times if one.path == proposal.time.best.path)
    of_keys = rows_by_key(session.ids, at)
    gap, evidence = suggest_gap(of_keys, at)
    visits = cut_visits(of_keys, at, gap)
    others = [column for column in _not_times([*columns.values()], times) if column is not session]
    item = choose(item_candidates(others, visits), LEAST_ITEM)
    item = item and item.without_same({path: column.ids for path, column in columns.items()})
    kinds = _kinds(others, columns[item.best.path], visits) if item else None
    where = kinds.where if kinds else _presence(item, columns)
    proposal = replace(
        proposal,
        item=item,
        where=where,
        kinds=kinds,
        event_id=_event_id(others, columns[item.best.path]) if item else "",
        placeholders=_placeholders(session),
        gap=gap,
        gap_evidence=evidence,
        scattered=_scattered(session, proposal.contents.records),
    )
    return replace(proposal, outcome=_outcome(proposal, known)) if item else proposal


def click_format(proposal: Proposal, known: ClickFormat) -> ClickFormat:
    """Return how clicks are decoded by a proposal that has a candidate for each field."""
    assert proposal.session
    assert proposal.item
    assert proposal.time
    return ClickFormat(
        proposal.contents.format,
        proposal.session.best.path,
        proposal.item.best.path,
        proposal.time.best.path,
        time_format=proposal.time.best.unit,
        avro_schema=known.avro_schema,
        registry=known.registry,
        where=proposal.where,
        ignore_keys=proposal.placeholders,
    )


def _keys(columns: Columns) -> Sequence[str | None]:
    """Return the record keys as texts, or what identifies a record key that is JSON."""
    if KEY in columns.by_path:
        return columns.by_path[KEY].ids
    inside = [column for path, column in columns.by_path.items() if path.startswith(f"{KEY}.")]
    varying = max(inside, key=lambda column: column.distinct, default=None)
    return varying.ids if varying else [None] * len(next(iter(columns.by_path.values())).values)


def _not_times(columns: Sequence[Column], times: Sequence[TimeColumn]) -> list[Column]:
    paths = {time.path for time in times}
    return [column for column in columns if column.path not in paths]


def _kinds(columns: Sequence[Column], item: Column, visits: Sequence[Visit]) -> KindFilter | None:
    return next(iter(kind_filters(columns, item, visits)), None)


def _presence(item: Choice | None, columns: Mapping[str, Column]) -> str:
    """Return a filter for the item alone, where many records have none."""
    if item is None:
        return ""
    column = columns[item.best.path]
    missing = len(column.values) - column.present
    return f"exists({item.best.path})" if missing > FEW_WITHOUT_ITEM * len(column.values) else ""


def _event_id(columns: Sequence[Column], item: Column) -> str:
    """Return a path whose values are texts, all different, and in every record."""
    for column in columns:
        whole = column.identified == len(column.values) == column.distinct
        if whole and column is not item and all(type(value) is str for value in column.values):
            return column.path
    return ""


def _placeholders(session: Column) -> tuple[str, ...]:
    keys = {key for key in session.ids if key is not None}
    return tuple(sorted(key for key in keys if key.lower() in PLACEHOLDERS))


def _scattered(session: Column, records: Sequence[SampledRecord]) -> int:
    places: dict[str, set[int]] = {}
    for key, record in zip(session.ids, records, strict=True):
        if key is not None:
            places.setdefault(key, set()).add(record.partition())
    return sum(len(found) > 1 for found in places.values())


def _outcome(proposal: Proposal, known: ClickFormat) -> Outcome:
    """Decode the records of the sample with the proposed settings."""
    try:
        decode = ClickDecoder(click_format(proposal, known)).decode
    except SettingsError as error:
        return Outcome(refused=Counter({str(error): proposal.contents.sampled}))
    refused, example, ignored = Counter[str](), "", 0
    keys: list[str | None] = []
    times: list[int | None] = []
    for record in proposal.contents.records:
        try:
            click = decode(record)
        except IgnoredError:
            ignored += 1
        except ClickError as error:
            refused[error.reason] += 1
            example = example or str(error)
        else:
            keys.append(click.key)
            times.append(click.time)
    visits = cut_visits(rows_by_key(keys, times), times, proposal.gap)
    return Outcome(len(keys), ignored, len(visits), refused, example)
