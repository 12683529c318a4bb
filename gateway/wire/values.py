"""The rules for values beyond width and characters, which a field table names (`value = "date"`).

Each rule stands here once: its demand in words, the test that decides, and a quick expression for the compiled plans,
which may doubt a right value but never trusts a wrong one. All code that reads a message, writes one or takes a
submission uses these rules. They apply to fields that are present: the message type says which fields are mandatory.
"""

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

WHITE = " \r\n"
"""The invisible characters that the scheme allows."""
ANY = "any"
"""The word in a table for a field without a rule."""


# bounded: the same few days come again and again
@lru_cache(maxsize=256)
def is_day(value: str) -> bool:
    """Whether YYYYMMDD is a day of the calendar."""
    if len(value) != 8 or not (value.isascii() and value.isdigit()):
        return False
    try:
        date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError:
        return False
    return True


FIELD_MAX = 128
"""The last data element. There is no element 0: 000 in DE44 would mean nothing."""


def names_a_field(value: str) -> bool:
    """Whether it is the number of a data element, of one to three digits."""
    return 0 < len(value) <= 3 and value.isascii() and value.isdigit() and 1 <= int(value) <= FIELD_MAX


def is_blank(value: str) -> bool:
    """Whether it holds nothing visible."""
    return not value.strip(WHITE)


class Rule(NamedTuple):
    """A rule for the values of one field."""

    written: str | list[str]
    """As the table writes it."""
    words: str
    """Ends a sentence about a field: `must be a day of the calendar`."""
    holds: Callable[[str], bool]
    """The test of a value that is not empty, without the padding of a fixed field."""
    doubt: str
    """The source of an expression about `{v}`: false when the rule surely holds."""
    names: dict[str, Any]
    """The names that the expression uses."""


def rule_of(value: str | list[str], number: int, width: int, *, digits: bool) -> Rule | None:
    """The rule that a table names for a field of this width; None for `any`. Raises `ValueError`, saying why not."""
    if isinstance(value, list):
        return _one_of(value, number, width)
    if value == ANY:
        return None
    if value == "date":
        if not digits or width != 8:
            raise ValueError("a date is eight digits: n8")
        return Rule("date", "must be a day of the calendar", is_day, "not IS_DAY({v})", {"IS_DAY": is_day})
    if value == "not-zero":
        if not digits:
            raise ValueError("not-zero is for digits")
        return Rule("not-zero", "must not be zero", _is_not_zero, 'not {v}.strip("0")', {})
    if value == "trimmed":
        if digits:
            raise ValueError("trimmed is for text")
        words = "must not begin or end with a space or a line break"
        return Rule("trimmed", words, _is_trimmed, "{v} != {v}.strip()", {})
    if value == "whole":
        words = f"must be {width} characters, padding included"
        return Rule("whole", words, lambda text: len(text) == width, f"len({{v}}) != {width}", {})
    raise ValueError("must be any, date, not-zero, trimmed, whole, or a list of values")


def _one_of(values: list[str], number: int, width: int) -> Rule:
    if not values or any(not 0 < len(value) <= width or not value.isascii() for value in values):
        raise ValueError(f"a list of values holds some, of 1 to {width} characters of ASCII")
    allowed, name = frozenset(values), f"VALUES_{number}"
    return Rule(values, f"must be {' or '.join(values)}", allowed.__contains__, f"{{v}} not in {name}", {name: allowed})


def _is_not_zero(value: str) -> bool:
    return bool(value.strip("0"))


def _is_trimmed(value: str) -> bool:
    return value == value.strip(WHITE)
