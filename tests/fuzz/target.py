"""What is fuzzed: a function of bytes, what good input looks like, and how to spoil it so that it still gets somewhere.

A target's `run` returns None. Whatever it raises is a finding: it holds the code to what its docstrings say, by
properties (nothing depends on how bytes were cut, what was read is what was written, …), and lets pass only the errors
that they name. It depends on nothing but its bytes, so that a finding can be had again.
"""

import importlib
import random
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

Spoil = Callable[[bytes, random.Random], bytes]
"""Makes another input out of one, mostly as well-formed as that was."""
_T = TypeVar("_T")


class Target(NamedTuple):
    """One of them."""

    run: Callable[[bytes], None]
    samples: Callable[[], Iterable[bytes]]
    """Where fuzzing begins, beside the corpus."""
    spoil: Spoil | None = None
    words: Sequence[bytes] = ()
    """What is worth trying anywhere in the input."""


MODULES = {
    "frame": "frames", "message": "messages", "decode": "decoding", "keydata": "keydata", "usm": "usms",
    "tables": "tables", "session": "sessions", "damage": "damage", "segments": "segments", "steps": "bodies",
    "copies": "copies",
    "configuration": "configurations", "door": "doors", "submission": "submissions", "answer": "answers",
    "link": "links", "control": "controls",
}  # fmt: skip
"""Every target, and the module in this folder that has it (as `TARGET`). Imported one by one: the fuzzer looks into
whatever a target imports, and that takes time."""


def target_of(name: str) -> Target:
    """Import a target."""
    target: Target = importlib.import_module(f"tests.fuzz.{MODULES[name]}").TARGET
    return target


class Dice:
    """Decisions that bytes make. At their end every throw is a zero."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether there is more."""
        return self._at < len(self._data)

    def upto(self, most: int) -> int:
        """A number from 0 to `most`; of two or more bytes when it can be large."""
        width = max(1, (most.bit_length() + 7) // 8)
        return int.from_bytes(self.take(width).ljust(width, b"\0"), "big") % (most + 1)

    def pick(self, choices: Sequence[_T]) -> _T:
        """One of these."""
        return choices[self._byte() % len(choices)]

    def odds(self, of: int) -> bool:
        """True once in so many throws; False at the end."""
        return self._byte() % of == 1

    def take(self, size: int) -> bytes:
        """Up to so many bytes."""
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        return data

    def short(self) -> bytes:
        """Some bytes, as many as the first says."""
        return self.take(self._byte())

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data))

    def _byte(self) -> int:
        data = self.take(1)
        return data[0] if data else 0


def short(data: bytes) -> bytes:
    """What `Dice.short` reads."""
    return bytes([len(data)]) + data


def pieces(data: bytes, seed: int) -> list[bytes]:
    """Cut bytes into chunks, byte by byte for seed 0, else anyhow."""
    if seed == 0:
        return [data[at : at + 1] for at in range(len(data))]
    chance, cut, at = random.Random(seed), list[bytes](), 0  # noqa: S311  a seed that replays
    while at < len(data):
        size = chance.choice((1, 2, 3, 7, 30, 200, 1000))
        cut.append(data[at : at + size])
        at += size
    return cut
