r"""The path language: where a value is in a record. It is the same for every format.

| path | value |
|---|---|
| `event.user.id` | a field inside others, also inside a text that holds JSON |
| `user\.id` | one field with a dot in its name: ``\`` makes the next character part of a name |
| `items.0.sku`, `items.-1.sku` | of the first, and of the last, item of a list |
| `params[key=session].value` | of the first item of a list whose field `key` is `session` |
| `%ce_time` | a header of the record |
| `$key`, `$key.user` | the record's key, a field of the record's key |
| `$timestamp` | the record's own timestamp |
| `$record.user`, `$element`, `$index` | see `clicks.explode`: of the record around an element, the
  element itself, its position |
| ``sku \| product_id`` | the first one that is not absent (missing, null or an empty text) |
| `user + device` | both, joined by a colon; parentheses group |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import NamedTuple, TypeVar

from ader_stream.errors import SettingsError


class RecordPart(Enum):
    """A part of a record beside its value; the first step of a path."""

    KEY = "$key"
    TIMESTAMP = "$timestamp"
    HEADERS = "%"
    RECORD = "$record"
    ELEMENT = "$element"
    INDEX = "$index"

    __hash__ = object.__hash__  # that of Enum is slow, and each record has some as names


class ItemWith(NamedTuple):
    """A step to the first item of a list whose field `name` has a value."""

    name: str
    value: str


Step = str | RecordPart | ItemWith
Path = tuple[Step, ...]
"""Steps from a record's value, or from another part of the record, to a value."""


@dataclass(frozen=True)
class FirstOf:
    """The first of several values that is not absent."""

    options: tuple[Field, ...]


@dataclass(frozen=True)
class Joined:
    """Several values as one text."""

    parts: tuple[Field, ...]


Field = Path | FirstOf | Joined
T = TypeVar("T")

_NAME = r"(?:\\.|[^\s\\.|+()\[\],=!<>\"'])+"
_TEXT = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_BRACKET = rf"\[\s*(?:-?\d+|{_NAME}\s*=\s*(?:{_NAME}|{_TEXT}))\s*\]"
_TOKEN = re.compile(
    rf"(?P<path>{_NAME}(?:\.{_NAME}|{_BRACKET})*)|(?P<text>{_TEXT})"
    r"|(?P<operator>==|!=|<=|>=|[|+(),<>])"
)
_STEP = re.compile(rf"(?P<name>{_NAME})|\[\s*(?P<index>-?\d+)\s*\]|(?P<with>{_BRACKET})")
_ITEM = re.compile(rf"\[\s*({_NAME})\s*=\s*(.*?)\s*\]", re.DOTALL)

_WITH_FIELDS = {
    part.value: part for part in (RecordPart.KEY, RecordPart.RECORD, RecordPart.ELEMENT)
}
_ALONE = {part.value: part for part in (RecordPart.TIMESTAMP, RecordPart.INDEX)}
OF_ELEMENTS = frozenset({RecordPart.RECORD, RecordPart.ELEMENT, RecordPart.INDEX})
"""Parts that only a record that holds many clicks has."""

_HEADER_WORDS = frozenset({"$header", "$headers"})

MOST_NESTED = 20
"""Most parentheses around a part of a text."""


class Token(NamedTuple):
    """A piece of a text; `kind` is ``path``, ``text``, ``operator`` or ``end``."""

    kind: str
    text: str
    start: int


class Tokens:
    """Pieces of a text, which a parser takes one by one; `reserved` words are no names.

    Raises
    ------
    SettingsError
        If a character of the text begins no piece.
    """

    def __init__(self, text: str, reserved: Set[str] = frozenset()) -> None:
        self._text = text
        self._reserved = reserved
        self._tokens = list(self._split())
        self._at = 0
        self._depth = 0

    def _split(self) -> Iterator[Token]:
        at, end = 0, len(self._text.rstrip())
        while at < end:
            if self._text[at].isspace():
                at += 1
                continue
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._error(at, "a name, or \\ before a character that belongs to a name")
            yield Token(str(match.lastgroup), match[0], at)
            at = match.end()
        yield Token("end", "", end)

    def peek(self) -> Token:
        """Return the next piece."""
        return self._tokens[self._at]

    def take(self) -> Token:
        """Return the next piece and step over it."""
        token = self.peek()
        self._at += token.kind != "end"
        return token

    def skip(self, *texts: str) -> str:
        """Step over the next piece if it is one of these, and return it; else return ''."""
        token = self.peek()
        return self.take().text if token.kind != "text" and token.text in texts else ""

    def require(self, text: str) -> None:
        """Step over a piece that must come next."""
        if not self.skip(text):
            raise self.expected(repr(text))

    def take_name(self) -> str:
        """Return a name, which must come next, nested or not, and step over it."""
        kind, written, _ = self.peek()
        if kind != "path":
            raise self.expected("a field's name, such as user, event.user.id, %header or $key")
        if written in self._reserved:
            raise self.expected(
                f"a field's name; one that is called {written} is written \\{written}"
            )
        return self.take().text

    def attempt(self, parse: Callable[[Tokens], T]) -> T | None:
        """Parse what comes next, or step over nothing and return None if that is not possible."""
        before = self._at, self._depth
        try:
            return parse(self)
        except SettingsError:
            self._at, self._depth = before
            return None

    def require_end(self, expected: str) -> None:
        """Require that nothing is left."""
        if self.peek().kind != "end":
            raise self.expected(expected)

    def nest(self, levels: int) -> None:
        """Enter or leave parentheses, which may not be nested without end."""
        self._depth += levels
        if self._depth > MOST_NESTED:
            raise self.expected(f"at most {MOST_NESTED} levels of parentheses and 'not'")

    def expected(self, what: str, at: Token | None = None) -> SettingsError:
        """Return the error that the next piece, or the one given, is not what was expected."""
        return self._error((at or self.peek()).start, what)

    def _error(self, start: int, what: str) -> SettingsError:
        place = f"at {self._text[start:]!r:.60}" if self._text[start:].strip() else "at its end"
        return SettingsError(f"{place}: expected {what}")


def parse_field(text: str) -> Field:
    r"""Parse the path of a field.

    >>> parse_field("event.user.id"), parse_field(r"event.user\.id")
    (('event', 'user', 'id'), ('event', 'user.id'))
    >>> parse_field("sku | items.0.id")
    FirstOf(options=(('sku',), ('items', '0', 'id')))

    Raises
    ------
    SettingsError
        Names the place in the text, what is expected there, and how to write it.
    """
    tokens = Tokens(text)
    field = take_field(tokens)
    tokens.require_end("'|' or '+' between two names (a blank within a name is written '\\ ')")
    return field


def take_field(tokens: Tokens) -> Field:
    """Parse the path of a field that begins with the next piece."""
    options = [_take_joined(tokens)]
    while tokens.skip("|"):
        options.append(_take_joined(tokens))
    return FirstOf(tuple(options)) if len(options) > 1 else options[0]


def _take_joined(tokens: Tokens) -> Field:
    parts = [_take_one(tokens)]
    while tokens.skip("+"):
        parts.append(_take_one(tokens))
    return Joined(tuple(parts)) if len(parts) > 1 else parts[0]


def _take_one(tokens: Tokens) -> Field:
    if tokens.skip("("):
        tokens.nest(1)
        field = take_field(tokens)
        tokens.require(")")
        tokens.nest(-1)
        return field
    token = tokens.peek()
    return _parse_path(tokens.take_name(), partial(tokens.expected, at=token))


def _parse_path(text: str, expected: Callable[[str], SettingsError]) -> Path:
    first, *others = [_step(match) for match in _STEP.finditer(text)]
    written = str(_STEP.match(text)[0])  # type: ignore[index]
    if written in _ALONE and others:
        raise expected(f"{written} alone: it has no fields")
    return (*_first_steps(written, first, expected), *others)


def _first_steps(written: str, step: Step, expected: Callable[[str], SettingsError]) -> Path:
    """Return the first step, or the part of the record that it names."""
    if part := _WITH_FIELDS.get(written) or _ALONE.get(written):
        return (part,)
    if written in _HEADER_WORDS:
        raise expected(f"%NAME for a header, or \\{written} for a field of this name")
    if written.startswith("%"):
        if len(written) == 1:
            raise expected("a header's name after %")
        return (RecordPart.HEADERS, str(step)[1:])
    return (step,)


def _step(match: re.Match[str]) -> Step:
    if match["name"]:
        return unescaped(match["name"])
    if match["index"]:
        return match["index"]
    name, value = _ITEM.fullmatch(match[0]).groups()  # type: ignore[union-attr]
    return ItemWith(unescaped(name), text_of(value))


def unescaped(name: str) -> str:
    r"""Return a name without the ``\`` before its characters."""
    return re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL)


def text_of(written: str) -> str:
    """Return a text without its quotation marks, if it has some."""
    return unescaped(written[1:-1] if written[0] in "\"'" else written)


def paths_in(field: Field) -> Iterator[Path]:
    """Yield every path of a field."""
    if isinstance(field, tuple):
        yield field
        return
    for part in field.options if isinstance(field, FirstOf) else field.parts:
        yield from paths_in(part)


def written_path(path: Path) -> str:
    r"""Return a path as a user may write it.

    >>> written_path(parse_field(r"%a\.b.items[0][id=7]"))
    '%a\\.b.items.0[id=7]'
    """
    steps = [_written_step(step) for step in path]
    if steps[0] == RecordPart.HEADERS.value:
        steps[:2] = ["%" + steps[1]]
    return ".".join(steps).replace(".[", "[")


def _written_step(step: Step) -> str:
    if isinstance(step, RecordPart):
        return str(step.value)
    if isinstance(step, ItemWith):
        return f"[{step.name}={step.value}]"
    return step.replace("\\", "\\\\").replace(".", "\\.")


def parts_in(field: Field) -> set[RecordPart]:
    """Return the parts of the record, beside its value, that a field is read from."""
    return {path[0] for path in paths_in(field) if isinstance(path[0], RecordPart)}


def with_index(field: Field) -> Field:
    """Return an id field, with the element's position where it is read from outside the element.

    >>> with_index(parse_field("id | $record.id")).options[1].parts
    ((<RecordPart.RECORD: '$record'>, 'id'), (<RecordPart.INDEX: '$index'>,))
    """
    if isinstance(field, FirstOf):
        return FirstOf(tuple(map(with_index, field.options)))
    if any(_reads_element(path) for path in paths_in(field)):
        return field
    parts = field.parts if isinstance(field, Joined) else (field,)
    return Joined((*parts, (RecordPart.INDEX,)))


def _reads_element(path: Path) -> bool:
    return not isinstance(path[0], RecordPart) or path[0] in (RecordPart.ELEMENT, RecordPart.INDEX)


def is_simple(field: Field) -> bool:
    """Return whether a field is a name, nested or not, in the record's value."""
    return isinstance(field, tuple) and all(isinstance(step, str) for step in field)
