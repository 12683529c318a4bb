"""One seed, from its number to its result: what `tests.simulation` runs, in this process or another.

Whatever the seed does, it comes to something that can be told: also a world that crashes, or that has no end.
"""

import gc
import re
import signal
import time
import traceback
from contextlib import nullcontext
from types import FrameType

from msgspec import Struct

from tests import rare
from tests.simulation import canaries, world
from tests.simulation.settings import draw

HASH = re.compile(r"\b[0-9a-f]{16}\b")
GARBAGE = (100_000, 20, 100)
"""When to look for cycles: a world makes many objects, keeps them to its end, and is a fifth of its time looked through
in vain by default. What that costs is some MiB."""
SEED_WITHIN_S = 900
"""A simulation in which time stands still has no end by itself (see `world.WALL_S`)."""


class Result(Struct):
    """What came of one seed, as it travels between processes."""

    seed: int
    broken: dict[str, list[str]]
    """By promise: what broke it."""
    failure: str
    story: list[str]
    simulated_s: float
    took_s: float
    payments: int
    figures: dict[str, int]
    reached: dict[str, str] = {}
    """Rare places that it came to (`tests.rare.Reached.found`)."""

    @classmethod
    def failed(cls, seed: int, why: str, took_s: float, story: list[str] | None = None) -> "Result":
        """Of a simulation that could not be carried through."""
        return cls(seed, {}, why, story or [], 0.0, took_s, 0, {})

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken and not self.failure


class _TooLongError(BaseException):
    """None of those that a world takes for the end of one of its processes."""


def run_seed(seed: int, canary: str = "", *, only: str = "", watch: bool = False, narrate: bool = False) -> Result:
    """Run one, in this process. `only`: the story is that of this payment (hash); `narrate`: of everything.

    A crash of the world, or of its judge, is a result like any other.
    """
    began = time.perf_counter()
    previous, collected = signal.signal(signal.SIGALRM, _too_long), gc.get_threshold()
    gc.set_threshold(*GARBAGE)
    signal.alarm(SEED_WITHIN_S)
    try:
        with rare.watch(f"seed {seed}") if watch else nullcontext() as reached, canaries.canary(canary):
            outcome = world.simulate(draw(seed))
    except (Exception, _TooLongError) as crash:  # noqa: BLE001 - whatever it is: told, with where it was
        why = f"crashed\n{''.join(traceback.format_exception(crash.__cause__ or crash)).rstrip()}"
        story = crash.story("") if isinstance(crash, world.Crashed) else []
        return Result.failed(seed, why, time.perf_counter() - began, story if narrate else [])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        gc.set_threshold(*collected)
    verdict = outcome.verdict
    broken = {one.name: one.first for one in verdict.invariants if one.violations}
    return Result(
        seed, broken, outcome.failure, _story(outcome, broken, only, narrate=narrate), outcome.simulated_s,
        time.perf_counter() - began, verdict.sent + verdict.submitted, verdict.figures,
        reached.found if reached is not None else {},
    )  # fmt: skip


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise _TooLongError(f"no end after {SEED_WITHIN_S} s")


def _story(outcome: world.Outcome, broken: dict[str, list[str]], only: str, *, narrate: bool) -> list[str]:
    """The story of the first payment that broke a promise."""
    if narrate:
        return outcome.story("")
    name = only or next((found[0] for texts in broken.values() for text in texts if (found := HASH.findall(text))), "")
    return outcome.story(name) if name or broken or outcome.failure else []
