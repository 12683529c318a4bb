"""The meanings of the values in unsolicited messages: `usm.toml`, or a bank's own file, checked and frozen.

Knows the words for each status. `permits` knows what follows from them.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.errors import ConfigurationError
from gateway.wire.tables import read

Two = Annotated[str, Meta(pattern=r"^[0-9]{2}\Z")]
Three = Annotated[str, Meta(pattern=r"^[0-9]{3}\Z")]
PaymentType = Two
"""The first two digits of DE3."""
Group = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,8}\Z")]
Standing = Literal["available", "suspended"]
Reach = Literal["below", "reached"]
Force = Literal["in-force", "lifted"]
Settling = Literal["normal", "delayed", "suspended", "completed"]


class LimitMeanings(Struct, frozen=True, forbid_unknown_fields=True):
    """The payment types that each of the two limits covers, and the unit of the limits."""

    sitl: tuple[PaymentType, ...]
    stl: tuple[PaymentType, ...]
    unit_pence: Annotated[int, Meta(ge=1, le=100)] = 1
    """Pence in one unit of an amount in a 9824."""


class Meanings(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole table. Each attribute has the name of the field of `Usm` whose values it explains."""

    service_status: dict[Two, Standing]
    suspension: dict[Two, Standing]
    priority_groups: dict[Two, tuple[Group, ...]]
    cap_status: dict[Two, Reach]
    sitl_status: dict[Two, Force]
    settlement_process: dict[Three, Settling]
    groups: dict[Group, tuple[PaymentType, ...]]
    limits: LimitMeanings

    def group_of(self, payment_type: str) -> str:
        """The payment priority group of a payment type; empty when it is in none."""
        return next((name for name, types in self.groups.items() if payment_type in types), "")


@cache
def built_in() -> Meanings:
    """The built-in table, read once."""
    return load()


def load(path: str | Path = "") -> Meanings:
    """Read a table; without a path the built-in one. Raises `ConfigurationError`."""
    where, _, raw = read(path, "usm.toml")
    try:
        meanings = msgspec.convert(raw, Meanings)
    except msgspec.ValidationError as error:
        raise ConfigurationError([f"{where}: {error}"]) from error
    strangers = [
        f"{where}: priority_groups.{value}: there is no group {name} in [groups]"
        for value, names in meanings.priority_groups.items()
        for name in names
        if name not in meanings.groups
    ]
    if strangers:
        raise ConfigurationError(strangers)
    return meanings
