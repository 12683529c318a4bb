"""A bounded memory by FPID, in two generations: when one is full, it becomes the old one and the oldest is forgotten.

Pure.
"""

from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class Remembered(Generic[_Value]):
    """At least the last `each_max` values, at most twice as many."""

    def __init__(self, each_max: int) -> None:
        self._each_max = each_max
        self._new: dict[bytes, _Value] = {}
        self._old: dict[bytes, _Value] = {}

    def get(self, fpid: bytes) -> _Value | None:
        """What is remembered of this payment."""
        return self._new.get(fpid) or self._old.get(fpid)

    def put(self, fpid: bytes, value: _Value) -> None:
        """Remember this of it."""
        if len(self._new) >= self._each_max:
            self._new, self._old = {}, self._new
        self._new[fpid] = value
