"""The modes of a mock processor, which its command line and its control port take. Pure."""

from typing import NamedTuple

from loadtest.traffic.judge import QUALIFIED

GARBLED = "1100"
"""What a refusal counts as that was not said as agreed: `pair.refused_code`, as it is when nobody sets it."""
DECIDING = frozenset({"fast", "slow", "twice", "refusing", "qualified", "garbled"})
USELESS = frozenset({"silent", "malformed", "half", "huge", "status"})
KINDS = (*sorted(DECIDING), *sorted(USELESS), "away")


class Behaviour(NamedTuple):
    """The behaviour towards one request."""

    kind: str
    seconds: float = 0.0
    code: str = "0000"
    """The answer: DE26; for `status`, the HTTP status."""


class Mode(NamedTuple):
    """The behaviour towards all requests: behaviours, each up to its share of [0, 1)."""

    text: str
    shares: tuple[tuple[float, Behaviour], ...]

    def pick(self, luck: float) -> Behaviour:
        """The behaviour whose share `luck` (0 up to 1) falls into."""
        for up_to, behaviour in self.shares:
            if luck < up_to:
                return behaviour
        return self.shares[-1][1]


def parse_mode(text: str) -> Mode:
    """Read a mode. Raises ValueError with what is wrong."""
    if not text.startswith("mix:"):
        return Mode(text, ((1.0, _behaviour(text)),))
    weighed: list[tuple[float, Behaviour]] = []
    for part in text[4:].split(","):
        name, _, weight = part.rpartition("=")
        weighed.append((float(weight), _behaviour(name)))
    if any(behaviour.kind == "away" for _, behaviour in weighed):
        raise ValueError("away is all or nothing: it cannot be mixed")
    total = sum(weight for weight, _ in weighed)
    if total <= 0 or any(weight < 0 for weight, _ in weighed):
        raise ValueError("weights must not be negative, nor all zero")
    shares: list[tuple[float, Behaviour]] = []
    sum_ = 0.0
    for share, behaviour in weighed:
        sum_ += share
        shares.append((sum_ / total, behaviour))
    return Mode(text, tuple(shares))


def _behaviour(text: str) -> Behaviour:
    kind, _, value = text.partition(":")
    if kind not in KINDS:
        raise ValueError(f"unknown mode {kind!r}: one of {', '.join(KINDS)} or mix")
    if kind == "slow":
        return Behaviour(kind, seconds=float(value))
    if kind == "refusing":
        if len(value) != 4 or not value.isdigit() or value[0] != "1":
            raise ValueError("refusing takes a code of 1xxx")
        return Behaviour(kind, code=value)
    if kind == "qualified":
        if value not in QUALIFIED:
            raise ValueError(f"qualified takes one of {', '.join(sorted(QUALIFIED))}")
        return Behaviour(kind, code=value)
    if kind == "status":
        if not 200 <= int(value) <= 599:
            raise ValueError("status takes an HTTP status")
        return Behaviour(kind, code=value)
    if value:
        raise ValueError(f"{kind} takes no value")
    return Behaviour(kind, code=GARBLED if kind == "garbled" else "0000")
