"""The action codes (DE26), who uses each, and its meaning: `codes.toml`, or a bank's own file, checked and frozen.

The laws of the stories know what follows from a code.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from gateway.config.written import line_of, lines_of
from gateway.errors import ConfigurationError
from gateway.wire.tables import read

Code = Annotated[str, Meta(pattern=r"^[0-9]{4}\Z")]
Words = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ,'/()-]{0,104}\Z")]
"""The meaning of a code. 105 characters at most: ISO 20022's AddtlInf."""

ACCEPTED = "0000"
"""Accepted, and credited now."""
DUPLICATE = "1181"
"""The FPID belongs to a payment with other content."""
MALFUNCTION = "1909"
"""The receiver can neither answer nor stand in."""
SYNTAX_ERROR = "1930"
"""A field is missing or bad; DE44 says which."""

SPEAKERS = {"accepted": "0", "qualified": "0", "receiver": "1", "hub": "9", "reversal": "4"}
"""The first digit of all codes in each table."""
NEEDED = {"accepted": (ACCEPTED,), "receiver": (DUPLICATE, MALFUNCTION, SYNTAX_ERROR)}
"""The codes that the gateway itself uses."""


class Codes(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole table: the meaning of each code, by who uses it."""

    accepted: dict[Code, Words]
    qualified: dict[Code, Words]
    """Accepted, to be credited later: the codes of stand-in."""
    receiver: dict[Code, Words]
    hub: dict[Code, Words]
    reversal: dict[Code, Words]

    def says(self, code: str) -> str:
        """The meaning of this code; empty when the table does not have it."""
        tables = (self.accepted, self.qualified, self.receiver, self.hub, self.reversal)
        return next((table[code] for table in tables if code in table), "")

    def accepts(self, code: str) -> bool:
        """Whether a payment that got this code is accepted, now or later."""
        return code in self.accepted or code in self.qualified

    def refuses_alone(self, code: str) -> bool:
        """Whether a receiver may refuse with this code alone. 1930 may not stand alone: it must name the field."""
        return code in self.receiver and code != SYNTAX_ERROR


@cache
def built_in() -> Codes:
    """The built-in table, read once."""
    return load()


def load(path: str | Path = "") -> Codes:
    """Read a table; without a path the built-in one. Raises `ConfigurationError` with every mistake."""
    where, text, raw = read(path, "codes.toml")
    try:
        codes = msgspec.convert(raw, Codes)
    except msgspec.ValidationError as error:
        raise ConfigurationError([f"{where}: {error}"]) from error
    written = lines_of(text)
    mistakes = [f"{where}:{line_of(written, key)}: {key}: {what}" for key, what in _mistakes(codes)]
    if mistakes:
        raise ConfigurationError(mistakes)
    return codes


def _mistakes(codes: Codes) -> Iterator[tuple[str, str]]:
    for speaker, digit in SPEAKERS.items():
        table: dict[str, str] = getattr(codes, speaker)
        for code in table:
            if code[0] != digit or (code == ACCEPTED) != (speaker == "accepted"):
                rule = f"is {ACCEPTED}" if speaker == "accepted" else f"begins with {digit} and is not {ACCEPTED}"
                yield f"{speaker}.{code}", f"a code of this table {rule}"
        for code in NEEDED.get(speaker, ()):
            if code not in table:
                yield speaker, f"{code} is missing: the gateway itself says it"
    if not codes.qualified:
        yield "qualified", "must have one code: stand-in's"
