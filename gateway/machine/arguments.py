"""The command line of every command here: taken literally.

argparse takes `--fpid` for `--fpid-hash` while no other option begins so: the user gets a filter that was not asked
for, and a new option changes the meaning of an old command line. So no option may be shortened.

Each numeric option has its limits here. A number beyond them (nan and inf, too) is refused with the limits.
"""

import argparse
import math
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

from gateway.machine import harmless


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that takes no shortened option; neither do its subcommands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self.color = False  # Python 3.14 has colours by itself; on our streams they are none (`console`)

    def error(self, message: str) -> NoReturn:
        """End with what is wrong with the command line, on one line: it quotes what was typed."""
        super().error(harmless.line(message))


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - argparse has no other name for it
"""The result of `Parser.add_subparsers`, to which each command adds itself."""


@dataclass(frozen=True)
class Number:
    """The numbers that an option takes. Call it with the text of the option."""

    least: float
    most: float
    whole: bool = False
    above: bool = False
    """`least` itself is too little."""

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
"""The longest wait."""
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
"""Tokens, or data centres."""
FEW_OR_NONE: Final = Number(0, 16, whole=True)
