"""The rules: settings that decide the sessions, and when each may change.

The state of a partition names the rules by which it was made (`RulesChange`). A worker that gets
the partition with other rules logs the change, or refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ader_stream.errors import SettingsError
from ader_stream.times import duration_text, instant_text, parse_duration
from ader_stream.types import BlockRule

Rules = Mapping[str, str]
"""Setting → its value as text, for those in `RULES` that the state names."""

PARTITIONS = "partitions"
"""A rule that is not a setting: the number of partitions of the clicks topic."""


class MayChange(StrEnum):
    """When a setting may change."""

    ANY_TIME = "at any time"
    NEXT_BLOCK = "from the next block"
    RESET = "after a reset"


@dataclass(frozen=True)
class Rule:
    """A setting that the state of the system depends on.

    Parameters
    ----------
    may_change
        When its value may change.
    effect
        Effect of the change.
    is_named
        Whether the state of a partition names it.
    """

    may_change: MayChange
    effect: str
    is_named: bool = True


_READ = Rule(MayChange.ANY_TIME, "it applies to clicks read after it; the watermark stays")
_MEANING = Rule(
    MayChange.ANY_TIME, "open sessions close: from then on, keys or items are other ones"
)
_FROM_THERE = Rule(MayChange.ANY_TIME, "it applies to clicks from then on")
_HELD = Rule(MayChange.ANY_TIME, "it applies to quarantined clicks, too")
_BOUND = Rule(
    MayChange.ANY_TIME,
    "open sessions continue; those above the new limit close at their next click",
)
_MOST = Rule(MayChange.ANY_TIME, "the oldest above the new limit close at once")
_BLOCKS = Rule(MayChange.NEXT_BLOCK, "`ader-stream blocks change`")
_RECIPE = Rule(
    MayChange.ANY_TIME,
    "the next update cycle; another architecture is a new model, with the parent as its teacher",
    is_named=False,
)

RULES: Mapping[str, Rule] = {
    "clicks.topic": Rule(MayChange.RESET, "offsets and open sessions belong to one topic"),
    PARTITIONS: Rule(
        MayChange.ANY_TIME, "new ones start empty; fewer are another topic: after a reset"
    ),
    "clicks.format": _READ,
    "clicks.session_field": _MEANING,
    "clicks.item_field": _MEANING,
    "clicks.time_field": _READ,
    "clicks.time_format": _READ,
    "clicks.where": _READ,
    "clicks.ignore_keys": _READ,
    "clicks.explode": _MEANING,
    "clicks.max_elements": _FROM_THERE,
    "clicks.key_format": _MEANING,
    "clicks.event_id_field": Rule(MayChange.ANY_TIME, "at first, no id is known"),
    "clicks.max_event_ids": Rule(MayChange.ANY_TIME, "the last ids are kept, up to the new number"),
    "clicks.max_bytes": _FROM_THERE,
    "clicks.max_ahead": _FROM_THERE,
    "clicks.max_behind": _FROM_THERE,
    "clicks.max_jump": _HELD,
    "clicks.jump_confirmations": _HELD,
    "sessions.gap": Rule(
        MayChange.ANY_TIME, "it applies to open sessions; closed ones stay closed"
    ),
    "sessions.lateness": Rule(MayChange.ANY_TIME, "the watermark waits, it never moves back"),
    "sessions.late": _FROM_THERE,
    "sessions.max_clicks": _BOUND,
    "sessions.max_age": _BOUND,
    "sessions.max_open": _MOST,
    "sessions.max_bytes": _BOUND,
    "blocks.origin": _BLOCKS,
    "blocks.length": _BLOCKS,
    "trainer.recipe": _RECIPE,
    "trainer.overrides": _RECIPE,
}
"""Every other setting may change at any time: it applies from a worker's next start on."""

OTHERS = Rule(MayChange.ANY_TIME, "from the worker's next start on", is_named=False)
"""The rule of settings that `RULES` does not list."""


CLOSING = frozenset(name for name, rule in RULES.items() if rule is _MEANING)
"""Rules whose change closes open sessions."""


class Difference(NamedTuple):
    """A rule that has changed."""

    name: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.name}: {self.then or 'empty'} → {self.now or 'empty'}"


def differences(then: Rules, now: Rules) -> list[Difference]:
    """Return the rules that differ; one that only one side names is no difference.

    >>> differences({"sessions.gap": "30m"}, {"sessions.gap": "5m", "sessions.late": "carry"})
    [Difference(name='sessions.gap', then='30m', now='5m')]
    """
    return [
        Difference(name, then[name], value)
        for name, value in now.items()
        if name in then and then[name] != value
    ]


def blocks_as_written(blocks: BlockRule) -> Rules:
    """Return the newest grid as setting texts.

    >>> blocks_as_written(BlockRule(345_600_000, 86_400_000))
    {'blocks.origin': '1970-01-05T00:00:00Z', 'blocks.length': '1d'}
    """
    grid = blocks.grid
    return {
        "blocks.origin": instant_text(grid.origin),
        "blocks.length": duration_text(grid.length),
    }


def session_parameters_in_force(
    own: Mapping[str, int], logged: Rules, grid: BlockRule
) -> dict[str, int]:
    """Return the numbers that decide sessions and blocks: the logged ones before a worker's own.

    >>> logged = {"sessions.gap": "1s", "clicks.topic": "x"}
    >>> session_parameters_in_force({"sessions.gap": 5}, logged, BlockRule(0, 7))
    {'sessions.gap': 1000, 'blocks.origin': 0, 'blocks.length': 7}
    """
    of_sessions = [name for name in own if name in logged and name.startswith("sessions.")]
    known = {name: _as_number(logged[name]) for name in of_sessions}
    return {**own, **known, "blocks.origin": grid.origin, "blocks.length": grid.length}


def _as_number(written: str) -> int:
    return parse_duration(written) if written[-1].isalpha() else int(written)


def as_text(rules: Rules) -> str:
    """Return rules as in a settings file.

    >>> as_text({"sessions.gap": "30m", "clicks.topic": ""})
    'sessions.gap = 30m, clicks.topic = empty'
    """
    return ", ".join(f"{name} = {value or 'empty'}" for name, value in rules.items())


def require_compatible(then: Rules, now: Rules, blocks: BlockRule, state: str) -> None:
    """Refuse to continue with a state if its rules may not change to the current ones.

    Parameters
    ----------
    then
        Rules in the state.
    blocks
        The current rule, with the logged changes: blocks of any of its grids are known.
    state
        Where the state is stored.

    Raises
    ------
    SettingsError
        Names the setting, both values, and the remedies.
    """
    known = [blocks_as_written(grid).items() for grid in blocks.grids]
    for name, before, value in differences(then, now):
        may_change = RULES[name].may_change
        if may_change is MayChange.RESET:
            remedy = RESET_REMEDY
        elif may_change is MayChange.NEXT_BLOCK and not any(g <= then.items() for g in known):
            remedy = BLOCKS_REMEDY
        else:
            continue
        raise SettingsError(
            f"{name} = {value or 'empty'}: the state in {state} was made with {before or 'empty'}; "
            f"set it back, or {remedy}"
        )


RESET_REMEDY = "stop all workers and start again with `ader-stream reset --yes`"
BLOCKS_REMEDY = (
    "stop sessionizers and inference and run `ader-stream blocks change`: they then change "
    "where the last open block ends"
)


def changes_table() -> Iterator[tuple[str, MayChange, str]]:
    """Yield the rows of the documentation: settings, when they may change, and the effect."""
    rows: dict[Rule, list[str]] = {}
    for name, rule in RULES.items():
        rows.setdefault(rule, []).append(name)
    for rule, names in rows.items():
        yield ", ".join(map(_shown, names)), rule.may_change, rule.effect
    yield "every other one", OTHERS.may_change, OTHERS.effect


def _shown(name: str) -> str:
    return "partitions of the clicks topic" if name == PARTITIONS else f"`{name}`"
