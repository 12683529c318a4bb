"""The settings of one simulation, all drawn from its seed: load, limits, and the frequency of each fault."""

import random
from math import exp
from typing import Any, Literal

from msgspec import Struct

from gateway.config import Group

GROUPS: dict[str, Group] = {"10": "sip", "30": "sop", "40": "fdp", "50": "other"}
"""The group of connections that carry a type of payment."""
MEAN_S = {
    "cut": 40.0,
    "stall": 60.0,
    "lag": 90.0,
    "half-open": 90.0,
    "hub-site-away": 120.0,
    "slow-sync": 60.0,
    "hung-sync": 120.0,
    "failed-sync": 200.0,
    "full-disk": 240.0,
    "flipped-bit": 400.0,
    "kill": 120.0,
    "power": 120.0,
    "drain": 120.0,
    "at-once": 240.0,
    "token": 40.0,
    "tokens": 240.0,
    "processor": 40.0,
    "processor-away": 120.0,
    "clock": 120.0,
    "mischief": 30.0,
    "injection": 30.0,
    "bank": 60.0,
    "news": 120.0,
    "key": 120.0,
    "operator": 120.0,
}
"""Mean time between two faults of each kind, in a simulation of middling weather."""
BESIDE_KEYS = frozenset(
    {"key", "slow-sync", "token", "processor", "processor-away", "clock", "mischief", "injection", "bank", "news",
     "operator"}
)  # fmt: skip
"""The faults that may occur while keys change."""


class Settings(Struct, frozen=True):
    """The settings of one simulation."""

    seed: int
    lasts_s: float
    """Time of payments and faults; after it, everything is well again and settles."""
    rate: float
    """Payments that arrive, each second."""
    outbound: float
    """Payments that leave, each second."""
    mean_s: dict[str, float]
    """Mean time between two faults, by kind; kinds that are missing do not happen."""
    pair: dict[str, Any]
    segment_bytes: int
    synchronous: bool
    asynchronous_answer: Literal["at-once", "after"]
    payment_type: str
    processor_seed: int
    away_s: float
    """Mean time of an absence of the processor."""
    wait_s: float
    """`Prefer: wait` of the submissions."""


def draw(seed: int) -> Settings:
    """The settings of a seed."""
    luck = random.Random(f"settings {seed}")  # noqa: S311 - a seed that replays
    patient = luck.random() < 0.08
    lasts_s = luck.choice((3600.0, 3600.0, 7200.0)) if patient else luck.choice((60.0, 120.0, 120.0, 240.0))
    calm = luck.uniform(-0.8, 2.2) + (2.5 if patient else 0.0)
    quiet = luck.uniform(0.2, 0.8)
    mean_s = {
        fault: mean * exp(calm - 1.0 + luck.uniform(-0.7, 0.7))
        for fault, mean in MEAN_S.items()
        if luck.random() > quiet
    }
    if luck.random() < 0.15:
        # a process that is away while its keys change does not learn of it: who must tell it is not public
        mean_s = {"key": 40.0, **{fault: mean for fault, mean in mean_s.items() if fault in BESIDE_KEYS}}
    else:
        mean_s.pop("key", None)
    given = Settings(
        seed=seed,
        lasts_s=lasts_s,
        rate=luck.uniform(0.05, 0.4) if patient else luck.choice((0.5, 3.0, 10.0)),
        outbound=luck.uniform(0.05, 0.4) if patient else luck.choice((0.5, 3.0, 10.0)),
        mean_s=mean_s,
        pair=_pair(luck),
        segment_bytes=luck.choice((65536, 262144, 1 << 20)),
        synchronous=luck.random() < 0.6,
        asynchronous_answer="after" if luck.random() < 0.5 else "at-once",
        payment_type=luck.choice(("10", "10", "10", "30", "40", "50")),
        processor_seed=luck.randrange(1 << 30),
        away_s=luck.choice((20.0, 120.0, 7200.0 if patient else 300.0)),
        wait_s=luck.choice((0.0, 0.0, 5.0, 20.0)),
    )
    # what came later is drawn last: the luck of all before it is as it was
    if luck.random() > quiet and "key" not in mean_s:
        mean_s["power-in-disk"] = 60.0 * exp(calm - 1.0 + luck.uniform(-0.7, 0.7))
    if luck.random() > quiet and "key" not in mean_s:
        mean_s["most-tokens"] = 60.0 * exp(calm - 1.0 + luck.uniform(-0.7, 0.7))
    if luck.random() > quiet and "key" not in mean_s:
        mean_s["volume"] = 90.0 * exp(calm - 1.0 + luck.uniform(-0.7, 0.7))
    if luck.random() < 0.3:
        given.pair["stand_in"]["withhold_while_suspended"] = True
    if luck.random() > quiet and "key" not in mean_s:
        mean_s["sick-link"] = 90.0 * exp(calm - 1.0 + luck.uniform(-0.7, 0.7))
    if luck.random() > quiet and "news" in mean_s:
        mean_s["hub-clock"] = 60.0 * exp(calm - 1.0 + luck.uniform(-0.7, 0.7))
    if luck.random() > quiet and "key" not in mean_s:
        mean_s["short"] = 90.0 * exp(calm - 1.0 + luck.uniform(-0.7, 0.7))
    mean_s |= _ordered(luck, calm, quiet)
    if luck.random() > quiet:
        mean_s["attacker"] = 60.0 * exp(calm - 1.0 + luck.uniform(-0.7, 0.7))
    return given


def _ordered(luck: random.Random, calm: float, quiet: float) -> dict[str, float]:
    """How often people order something."""
    means_s = {"stop": 60.0, "parked": 90.0}
    return {
        name: mean_s * exp(calm - 1.0 + luck.uniform(-0.7, 0.7))
        for name, mean_s in means_s.items()
        if luck.random() > quiet
    }


def _pair(luck: random.Random) -> dict[str, Any]:
    """The settings that both sites share."""
    stand_in: dict[str, Any] = {}
    if luck.random() < 0.3:
        stand_in = {
            "amount_max": luck.choice((0, 50_000)),
            "daily_total_max": luck.choice((0, 2_000_000)),
            "otherwise": luck.choice(("1909", "nothing")),
        }
    deadlines = {"stand_in_after_s": luck.choice((2.0, 5.0)), "reply_within_s": 9.0, "hub_patience_s": 10.0}
    submit = {"answer_within_s": luck.choice((4.0, 16.0)), "repeat_for_s": luck.choice((20.0, 120.0, 600.0))}
    return {"deadlines": deadlines, "stand_in": stand_in, "submit": submit}
