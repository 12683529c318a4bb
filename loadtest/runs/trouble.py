"""What goes wrong, and when: a schedule from a seed. Pure; `hands` do it.

A schedule is drawn beforehand and holds nothing of what happens meanwhile, so that a seed replays it; how the processes
interleave no seed can say.
"""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

What = Literal[
    "kill",  # SIGKILL
    "kill twice",  # and again, soon after it was started
    "stop",  # SIGSTOP, for a time
    "drain",  # SIGTERM
    "drain and kill",  # before it is done
    "kill worker",  # a signer worker of a gateway
    "stop worker",
    "drop",  # the hub hangs up on everybody at a site
    "close",  # and takes nobody for a time
    "change own key of",  # the hub sends a bank a new key: that it signs with,
    "change hub key of",  # or that the hub does
]
"""What is done to whom."""
OF_GATEWAYS: dict[What, float] = {
    "kill": 6, "kill twice": 2, "stop": 5, "drain": 3, "drain and kill": 2, "kill worker": 3, "stop worker": 3,
}  # fmt: skip
"""What may happen to a gateway, and how often compared with the rest."""
OF_PROCESSORS: dict[What, float] = {"kill": 3, "stop": 3}
"""The same for a processor."""
OF_SITES: dict[What, float] = {"drop": 2, "close": 1}
"""And for a site of the hub."""

OF_BANKS: dict[What, float] = {"change own key of": 2, "change hub key of": 2}
"""And for a bank whose one process must learn of it. Of two, one that is away misses it, as the scheme has it."""

AT_ONCE = 0.3
"""How often two things happen at the same time."""
EVERY_S = 3.0
"""From one trouble to the next, on average."""
FIRST_S = 2.0
"""Payments flow first."""


class Trouble(NamedTuple):
    """One thing that goes wrong."""

    at_s: float
    """From the beginning of the load."""
    what: What
    whom: str
    """A gateway, a bank's processor, or a site of the hub."""
    for_s: float
    """How long it stays so: stopped, closed, or away until it is started again."""
    then_s: float = 0.0
    """For two kills: from the start after the first to the second; for a kill of what drains: from its signal."""
    which: float = 0.0
    """Chooses among workers: from 0 up to 1."""

    def __str__(self) -> str:
        return f"{self.what} {self.whom}"


class Whom(NamedTuple):
    """Who there is, and how much of it each must stand."""

    gateways: Sequence[str]
    processors: Sequence[str]
    sites: Sequence[str]
    patience_s: float
    """Of the hub: some gateways are stopped for longer."""
    banks: Sequence[str] = ()
    """Whose keys change."""
    spared: frozenset[str] = frozenset()
    """Gateways whose own process is left alone; their workers are not."""


def schedule(seed: int, duration_s: float, whom: Whom, every_s: float = EVERY_S) -> list[Trouble]:
    """What goes wrong, in the order of time, from `FIRST_S` on; the same for the same arguments."""
    draw = random.Random(seed)  # noqa: S311 - troubles, not secrets
    choices = [
        (weight, what, name)
        for names, kinds in (
            (whom.gateways, OF_GATEWAYS), (whom.processors, OF_PROCESSORS), (whom.sites, OF_SITES),
            (whom.banks, OF_BANKS),
        )
        for name in names
        for what, weight in kinds.items()
        if name not in whom.spared or what.endswith("worker")
    ]  # fmt: skip
    weights = [weight for weight, _, _ in choices]
    troubles: list[Trouble] = []
    at_s = FIRST_S
    while at_s < duration_s:
        for _ in range(2 if draw.random() < AT_ONCE else 1):
            _, what, name = draw.choices(choices, weights)[0]
            troubles.append(
                Trouble(at_s, what, name, _for_s(draw, what, name, whom), draw.uniform(0.02, 2.0), draw.random())
            )
        at_s += max(0.2, draw.expovariate(1 / every_s))
    return troubles


def _for_s(draw: random.Random, what: What, name: str, whom: Whom) -> float:
    """How long it lasts: mostly short, at times longer than anybody's patience."""
    if what == "stop worker":
        return draw.choice((draw.uniform(0.05, 1.0), draw.uniform(1.0, 6.0)))
    if what in {"stop", "close"}:
        patience_s = whom.patience_s
        lengths = (draw.uniform(0.05, 1.0), draw.uniform(1.0, patience_s), draw.uniform(patience_s, 2 * patience_s))
        return draw.choices(lengths, (4, 3, 2 if what == "stop" else 0))[0]
    if name in whom.processors:
        return draw.uniform(0.1, 5.0)
    return draw.choice((0.1, 0.1, draw.uniform(0.1, 3.0)))
