"""The filter of records: which of them are clicks (`clicks.where`).

::

    filter  = all {"or" all}
    all     = one {"and" one}
    one     = "not" one | "(" filter ")" | test
    test    = field                             present, and not false
            | "exists" "(" field ")"            present
            | field ("==" | "!=") literal
            | field ("<" | "<=" | ">" | ">=") number
            | field ["not"] "in" "(" literal {"," literal} ")"
    literal = text in quotes | number | true | false | null

A field is a path (`ader_stream.stream.clicks.language.paths`). A value is present if it is there,
and neither null nor an empty text. A value that is not there is equal to null alone, and no number
compares with it. A number is equal to a text that holds it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from ader_stream.errors import SettingsError
from ader_stream.stream.clicks.fields import Fields, is_absent, optional
from ader_stream.stream.clicks.language.paths import Field, Tokens, take_field, text_of

Number = int | float | Decimal
Literal = str | Number | bool | None
Test = Callable[[object], bool]
Keep = Callable[[Fields], bool]

_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?")
_WHOLE = re.compile(r"-?[0-9]{1,30}")
_CONSTANTS: dict[str, Literal] = {"true": True, "false": False, "null": None}
_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_EQUALS = ("==", "!=")
_COMPARISONS = (*_EQUALS, *_ORDERS, "in", "not")
_KEYWORDS = frozenset({"and", "or", "not", "in", "exists", *_CONSTANTS})


@dataclass(frozen=True)
class FieldTest:
    """A test of one field's value; null stands for a field that is missing.

    Parameters
    ----------
    field
        Where the value is.
    passes
        The test.
    """

    field: Field
    passes: Test


@dataclass(frozen=True)
class Not:
    """Passes where the other one does not."""

    filter: Filter


@dataclass(frozen=True)
class AllOf:
    """Passes where all of them pass."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf:
    """Passes where one of them passes."""

    filters: tuple[Filter, ...]


Filter = FieldTest | Not | AllOf | AnyOf


def parse_filter(text: str) -> Filter:
    """Parse a filter.

    Raises
    ------
    SettingsError
        Names the place in the text, what is expected there, and how to write it.
    """
    tokens = Tokens(text, _KEYWORDS)
    parsed = _take_filter(tokens)
    tokens.require_end("'and', 'or' or a comparison such as == \"view\"")
    return parsed


def compile_filter(parsed: Filter) -> Keep:
    """Return a function that returns whether a record passes.

    >>> keep = compile_filter(parse_filter('event in ("view", "open") and not bot'))
    >>> keep({"event": "view", "bot": False}), keep({"event": "buy"})
    (True, False)
    """
    if isinstance(parsed, FieldTest):
        get, passes = optional(parsed.field, None), parsed.passes
        return lambda fields: passes(get(fields))
    if isinstance(parsed, Not):
        inner = compile_filter(parsed.filter)
        return lambda fields: not inner(fields)
    keeps = [*map(compile_filter, parsed.filters)]
    decide = all if isinstance(parsed, AllOf) else any
    return lambda fields: decide(keep(fields) for keep in keeps)


def fields_in(parsed: Filter) -> Iterator[Field]:
    """Yield the fields that a filter reads."""
    if isinstance(parsed, FieldTest):
        yield parsed.field
    elif isinstance(parsed, Not):
        yield from fields_in(parsed.filter)
    else:
        for inner in parsed.filters:
            yield from fields_in(inner)


def _take_filter(tokens: Tokens) -> Filter:
    filters = [_take_all(tokens)]
    while tokens.skip("or"):
        filters.append(_take_all(tokens))
    return AnyOf(tuple(filters)) if len(filters) > 1 else filters[0]


def _take_all(tokens: Tokens) -> Filter:
    filters = [_take_one(tokens)]
    while tokens.skip("and"):
        filters.append(_take_one(tokens))
    return AllOf(tuple(filters)) if len(filters) > 1 else filters[0]


def _take_one(tokens: Tokens) -> Filter:
    tokens.nest(1)
    if tokens.skip("not"):
        found: Filter = Not(_take_one(tokens))
    elif tokens.skip("exists"):
        found = _take_exists(tokens)
    elif tokens.peek().text == "(" and (field := tokens.attempt(take_field)):
        found = _take_test(tokens, field)
    elif tokens.skip("("):
        found = _take_filter(tokens)
        tokens.require(")")
    else:
        found = _take_test(tokens, take_field(tokens))
    tokens.nest(-1)
    return found


def _take_exists(tokens: Tokens) -> Filter:
    tokens.require("(")
    field = take_field(tokens)
    tokens.require(")")
    return FieldTest(field, _is_present)


def _take_test(tokens: Tokens, field: Field) -> Filter:
    operator_ = tokens.skip(*_COMPARISONS)
    if operator_ in _ORDERS:
        return FieldTest(field, _order_test(operator_, _take_number(tokens)))
    if operator_ in _EQUALS:
        test = FieldTest(field, _equality_test(_take_literal(tokens)))
        return test if operator_ == "==" else Not(test)
    if operator_ == "in":
        return FieldTest(field, _take_members(tokens))
    if operator_ == "not":
        tokens.require("in")
        return Not(FieldTest(field, _take_members(tokens)))
    return FieldTest(field, _is_set)


def _take_members(tokens: Tokens) -> Test:
    tokens.require("(")
    members = [_take_literal(tokens)]
    while tokens.skip(","):
        members.append(_take_literal(tokens))
    tokens.require(")")
    tests = [*map(_equality_test, members)]
    if all(isinstance(member, str) for member in members):
        texts = frozenset(members)
        return lambda value: (value if type(value) is str else _as_text(value)) in texts
    return lambda value: any(test(value) for test in tests)


def _take_number(tokens: Tokens) -> Number:
    if (number := _number_of(tokens.peek().text)) is None:
        raise tokens.expected("a number")
    tokens.take()
    return number


def _take_literal(tokens: Tokens) -> Literal:
    kind, written, _ = tokens.peek()
    if kind == "text":
        value: Literal = text_of(written)
    elif written in _CONSTANTS:
        value = _CONSTANTS[written]
    elif (number := _number_of(written)) is not None:
        value = number
    else:
        raise _no_literal(tokens)
    tokens.take()
    return value


def _no_literal(tokens: Tokens) -> SettingsError:
    return tokens.expected('a text in quotes ("view"), a number, true, false or null')


def _is_present(value: object) -> bool:
    return not is_absent(value)


def _is_set(value: object) -> bool:
    return value is not False and not is_absent(value)


def _equality_test(literal: Literal) -> Test:
    if isinstance(literal, str):
        return lambda value: (value if type(value) is str else _as_text(value)) == literal
    if literal is None or isinstance(literal, bool):
        return lambda value: value is literal
    return lambda value: _number_of(value) == literal


def _order_test(order: str, limit: Number) -> Test:
    compare = _ORDERS[order]

    def test(value: object) -> bool:
        number = _number_of(value)
        return number is not None and bool(compare(number, limit))

    return test


def _number_of(value: object) -> Number | None:
    """Return the number that a value is, or that a text is; None if there is none."""
    if type(value) is int or type(value) is float or type(value) is Decimal:
        return value
    if type(value) is str and _NUMBER.fullmatch(value):
        return int(value) if _WHOLE.fullmatch(value) else float(value)
    return None


def _as_text(value: object) -> str | None:
    """Return the text of a whole number, of a UUID, or of bytes; None if there is none."""
    if type(value) is int or type(value) is UUID:
        return str(value)
    return value.decode(errors="replace") if type(value) is bytes else None
