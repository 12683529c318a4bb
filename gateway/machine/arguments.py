"""The command line of every command here, made in one place: what is typed is taken at its word.

argparse takes `--fpid` for `--fpid-hash` while there is no other option that begins so: a filter that nobody asked for,
and a new option changes what an old command line means. So no option may be shortened.

Nor may a number be one that makes no sense: each has its limits here, and what is beyond them (nan and inf, too) is
refused with what may be given.
"""

import argparse
import math
from dataclasses import dataclass
from typing import Any, Final, TypeAlias


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that takes no option by its beginning; its subcommands are made by it, and are likewise."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - argparse has no other name for it
"""What `Parser.add_subparsers` makes, to which each command adds itself."""


@dataclass(frozen=True)
class Number:
    """What a numeric option takes. To be called with what was typed."""

    least: float
    most: float
    whole: bool = False
    above: bool = False
    """The least itself is too little."""

    def __call__(self, text: str) -> Any:
        """The number: an int where it is `whole`, else a float. Raises `argparse.ArgumentTypeError`."""
        try:
            number = int(text) if self.whole else float(text)
        except ValueError:
            number = math.nan
        if self.least <= number <= self.most and not (self.above and number == self.least):
            return number
        kind = "a whole number" if self.whole else "a number"
        raise argparse.ArgumentTypeError(
            f"must be {kind} {'above' if self.above else 'from'} {self.least:.15g} to {self.most:.15g}"
        )


_LONGEST_S = 30 * 86_400.0
"""What anybody may wait for."""
_RATE_MAX = 1e6
_MANY = 10**12

SECONDS: Final = Number(0, _LONGEST_S, above=True)
SECONDS_OR_NONE: Final = Number(0, _LONGEST_S)
RATE: Final = Number(0, _RATE_MAX, above=True)
"""Payments per second."""
RATE_OR_NONE: Final = Number(0, _RATE_MAX)
COUNT: Final = Number(1, _MANY, whole=True)
COUNT_OR_NONE: Final = Number(0, _MANY, whole=True)
SEED: Final = Number(0, _MANY, whole=True)
PORT: Final = Number(1, 65535, whole=True)
PORT_OR_FREE: Final = Number(0, 65535, whole=True)
CORE: Final = Number(0, 8191, whole=True)
"""A processor's number; Linux has no more."""
FEW: Final = Number(1, 16, whole=True)
"""Of tokens, of data centres."""
FEW_OR_NONE: Final = Number(0, 16, whole=True)
