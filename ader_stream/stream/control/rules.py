"""The rules: settings that decide the sessions, when each may change, and what holds then.

The state of a partition names the rules that it was made by (`RulesChange`). Whoever takes the
partition with others says so in the log, or refuses.
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
"""Setting → its value as it is written, of those in `RULES` that the state names."""

PARTITIONS = "partitions"
"""Rule that is no setting: the number of partitions of the clicks topic."""


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
        When its value may be another one.
    effect
        What holds then.
    is_named
        The state of a partition names it.
    """

    may_change: MayChange
    effect: str
    is_named: bool = True


_READ = Rule(MayChange.ANY_TIME, "clicks are read by it from there on; the watermark stays")
_MEANING = Rule(
    MayChange.ANY_TIME, "what is open closes: from there on, keys or items are other ones"
)
_FROM_THERE = Rule(MayChange.ANY_TIME, "it holds for clicks from there on")
_HELD = Rule(MayChange.ANY_TIME, "it holds for clicks in quarantine, too")
_BOUND = Rule(
    MayChange.ANY_TIME, "open sessions go on; those above the new bound close with their next click"
)
_MOST = Rule(MayChange.ANY_TIME, "the oldest above the new bound close at once")
_BLOCKS = Rule(MayChange.NEXT_BLOCK, "`ader-stream blocks change`")
_RECIPE = Rule(
    MayChange.ANY_TIME,
    "the next update cycle; another architecture is a new model, with the parent as its teacher",
    is_named=False,
)

RULES: Mapping[str, Rule] = {
    "clicks.topic": Rule(MayChange.RESET, "offsets and what is open belong to one topic"),
    PARTITIONS: Rule(
        MayChange.ANY_TIME, "new ones begin empty; fewer are another topic: after a reset"
    ),
    "clicks.format": _READ,
    "clicks.session_field": _MEANING,
    "clicks.item_field": _MEANING,
    "clicks.time_field": _READ,
    "clicks.time_format": _READ,
    "clicks.event_id_field": Rule(MayChange.ANY_TIME, "no id is remembered at first"),
    "clicks.event_ids": Rule(MayChange.ANY_TIME, "the last ones are remembered, up to as many"),
    "clicks.max_bytes": _FROM_THERE,
    "clicks.max_ahead": _FROM_THERE,
    "clicks.max_behind": _FROM_THERE,
    "clicks.max_jump": _HELD,
    "clicks.jump_confirmations": _HELD,
    "sessions.gap": Rule(
        MayChange.ANY_TIME, "open sessions go on under it; what has closed stays closed"
    ),
    "sessions.lateness": Rule(MayChange.ANY_TIME, "the watermark waits, it never goes back"),
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
"""Every other setting may change at any time: it holds from a worker's next start on."""

OTHERS = Rule(MayChange.ANY_TIME, "from the worker's next start on", is_named=False)
"""What holds for settings that `RULES` does not list."""


CLOSING = frozenset(name for name, rule in RULES.items() if rule is _MEANING)
"""Rules whose change closes what is open."""


class Difference(NamedTuple):
    """A rule that is another one than it was."""

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
    """Return the newest grid as settings say it.

    >>> blocks_as_written(BlockRule(345_600_000, 86_400_000))
    {'blocks.origin': '1970-01-05T00:00:00Z', 'blocks.length': '1d'}
    """
    grid = blocks.grid
    return {
        "blocks.origin": instant_text(grid.origin),
        "blocks.length": duration_text(grid.length),
    }


def cut_by(own: Mapping[str, int], logged: Rules, grid: BlockRule) -> dict[str, int]:
    """Return the numbers that decide sessions and blocks: those that were logged before one's own.

    >>> cut_by({"sessions.gap": 5}, {"sessions.gap": "1s", "clicks.topic": "x"}, BlockRule(0, 7))
    {'sessions.gap': 1000, 'blocks.origin': 0, 'blocks.length': 7}
    """
    of_sessions = [name for name in own if name in logged and name.startswith("sessions.")]
    known = {name: _as_number(logged[name]) for name in of_sessions}
    return {**own, **known, "blocks.origin": grid.origin, "blocks.length": grid.length}


def _as_number(written: str) -> int:
    return parse_duration(written) if written[-1].isalpha() else int(written)


def as_text(rules: Rules) -> str:
    """Write rules as one would in a settings file.

    >>> as_text({"sessions.gap": "30m", "clicks.topic": ""})
    'sessions.gap = 30m, clicks.topic = empty'
    """
    return ", ".join(f"{name} = {value or 'empty'}" for name, value in rules.items())


def require_compatible(then: Rules, now: Rules, blocks: BlockRule, state: str) -> None:
    """Refuse to go on with a state that was made by rules which may not change like that.

    Parameters
    ----------
    then
        What the state says.
    blocks
        Of now, with the changes that were logged: blocks of any of its grids are known.
    state
        Where it lies.

    Raises
    ------
    SettingsError
        Naming the setting, its values then and now, and the ways out.
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


RESET_REMEDY = "stop all workers and begin again with `ader-stream reset --yes`"
BLOCKS_REMEDY = (
    "stop sessionizers and inference and run `ader-stream blocks change`, by which they change "
    "where the last open block ends"
)


def changes_table() -> Iterator[tuple[str, MayChange, str]]:
    """Yield the rows of the documentation: settings, when they may change, and what holds then."""
    rows: dict[Rule, list[str]] = {}
    for name, rule in RULES.items():
        rows.setdefault(rule, []).append(name)
    for rule, names in rows.items():
        yield ", ".join(map(_shown, names)), rule.may_change, rule.effect
    yield "every other one", OTHERS.may_change, OTHERS.effect


def _shown(name: str) -> str:
    return "partitions of the clicks topic" if name == PARTITIONS else f"`{name}`"
