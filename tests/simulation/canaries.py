"""Gateways that break a promise on purpose, one switch for each: the test of the test.

Each canary patches the gateway in this process, or, where a promise judges hub, processor or books, these, so that just
this promise is broken, in a way in which it could be. A `Scenario` is the weather in which that must show. An oracle
that lets one of them pass proves nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

from loadtest.hub.answers import Answers
from loadtest.hub.injections import Injection
from loadtest.hub.submissions import Submissions
from loadtest.processor.server import MockProcessor
from loadtest.processor.submitter import SubmissionOrder
from tests.simulation import attacker, breakages, world
from tests.simulation.settings import Settings

PAIR: Mapping[str, Any] = {
    "deadlines": {"stand_in_after_s": 2.0, "reply_within_s": 9.0, "hub_patience_s": 10.0},
    "submit": {"answer_within_s": 4.0, "repeat_for_s": 20.0},
}


class Scenario(NamedTuple):
    """The weather in which a canary must show."""

    mean_s: dict[str, float]
    """How often what goes wrong, as in `settings`."""
    changed: Mapping[str, Any] = MappingProxyType({})
    """Of the settings."""
    world: Callable[[], breakages.Patch] | None = None
    """What else is so, with the canary and without."""


def settings(scenario: Scenario, seed: int) -> Settings:
    """A small simulation: what takes long is not needed to see one broken promise."""
    calm = Settings(
        seed=seed, lasts_s=30.0, rate=2.0, outbound=2.0, mean_s=scenario.mean_s, pair=dict(PAIR), segment_bytes=65536,
        synchronous=True, asynchronous_answer="after", payment_type="10", processor_seed=seed, away_s=10.0, wait_s=0.0,
    )  # fmt: skip
    return msgspec.structs.replace(calm, **scenario.changed)


# --- the weather

CALM = Scenario({})
SLOW_DISK = Scenario({"slow-sync": 3.0})
SLOW_DISK_WAITED_FOR = Scenario({"slow-sync": 3.0}, {"wait_s": 5.0})
LINES = Scenario({"cut": 4.0})
ASYNCHRONOUS = Scenario({}, {"synchronous": False, "payment_type": "30"})
PROCESSOR = Scenario({"processor": 4.0})
BAD_NOTICES = Scenario({"processor": 2.0, "cut": 2.0}, {"rate": 6.0})
LIMITED = Scenario(
    {"processor": 2.0}, {"pair": {**PAIR, "stand_in": {"amount_max": 50_000, "daily_total_max": 200_000}}, "rate": 6.0}
)
DEATHS = Scenario({"kill": 8.0})
NEWS = Scenario({"news": 6.0})
STOPS = Scenario({"stop": 6.0, "hung-sync": 10.0}, {"lasts_s": 60.0})
KEYS = Scenario({"key": 6.0})
MISCHIEF = Scenario({"mischief": 2.0})
HUNG_DISK = Scenario({"hung-sync": 3.0}, {"lasts_s": 80.0})
ATTACKED = Scenario({"attacker": 4.0}, {"lasts_s": 60.0})
BAD_DISK = Scenario({"failed-sync": 4.0}, {"lasts_s": 80.0})


def _deaf() -> breakages.Patch:
    """The hub never answers some payments, however often they come."""

    def make(answer: Any) -> Any:
        def never(self: Any, link: Any, request: Any, *rest: Any) -> None:
            if not breakages.every(request.fpid.decode(), 4):
                answer(self, link, request, *rest)

        return never

    return breakages.wrap(Answers, "give", make)


def _spoilt(what: Any, every: int) -> Callable[[], breakages.Patch]:
    """The hub spoils an answer now and then."""

    def make(init: Any) -> Any:
        def spoil(self: Any, *given: Any) -> None:
            init(self, *given)
            self.injections.add(Injection(what, 1000, every=every))

        return spoil

    return partial(breakages.wrap, Submissions, "__init__", make)


def _always(mode: str) -> Callable[[], breakages.Patch]:
    """The processor is like this."""
    return lambda: patch.object(world, "MockProcessor", lambda _, **given: MockProcessor(mode, **given))


SLOW_PROCESSOR = Scenario({}, {}, _always("slow:4"))
REPEATS = Scenario({"cut": 3.0}, {"synchronous": False, "payment_type": "30", "rate": 8.0}, _always("slow:1"))
FORGERIES = Scenario({"attacker": 4.0}, {"lasts_s": 60.0}, lambda: patch.object(attacker, "WAYS", ("alter",)))
DEAF = Scenario({}, {}, _deaf)
SWALLOWED = Scenario({}, {}, _spoilt("swallow", 3))
TWICE = Scenario({}, {}, _spoilt("twice", 3))
INCONCLUSIVE = Scenario({}, {}, _spoilt("9909", 3))
HOME = Scenario({}, {}, lambda: patch.object(world, "SubmissionOrder", partial(SubmissionOrder, receivers=("600002",))))
"""The bank pays its own customers, by way of the hub: both ends of a payment are seen."""


class Canary(NamedTuple):
    """How a promise is broken, and where that must show."""

    broken: Callable[[], breakages.Patch]
    scenario: Scenario


CANARIES: dict[str, Canary] = {
    "accounted": Canary(breakages.loses_requests, ASYNCHRONOUS),
    "hub-satisfied": Canary(breakages.replies_anywhere, CALM),
    "durable-before-reply": Canary(breakages.replies_before_the_disk, SLOW_DISK),
    "one-outcome": Canary(breakages.decides_twice, SLOW_PROCESSOR),
    "in-time": Canary(breakages.refuses_reversals, LINES),
    "nobody-turned-away": Canary(breakages.stands_in_with_1909, SLOW_PROCESSOR),
    "received-once": Canary(breakages.knows_no_repeats, REPEATS),
    "reversals-recorded": Canary(breakages.reverses_unrecorded, LINES),
    "answers-kept": Canary(breakages.misremembers_answers, CALM),
    "asked-after-durable": Canary(breakages.asks_before_the_disk, SLOW_DISK),
    "content-kept": Canary(breakages.rounds_amounts, CALM),
    "submissions-accounted": Canary(breakages.fails_to_read, CALM),
    "taken-after-durable": Canary(breakages.acknowledges_before_the_disk, SLOW_DISK),
    "submissions-end": Canary(breakages.forgets_to_record_unknown, DEAF),
    "only-submitted": Canary(breakages.mixes_keys_up, CALM),
    "sent-after-durable": Canary(breakages.sends_before_the_disk, SLOW_DISK),
    "sent-once": Canary(breakages.repeats_as_new, SWALLOWED),
    "executed-once": Canary(breakages.hub_forgets, SWALLOWED),
    "refused-means-nothing": Canary(breakages.refuses_what_it_took, CALM),
    "never-failed": Canary(breakages.calls_unknown_unsent, DEAF),
    "settled-as-answered": Canary(breakages.believes_9909, INCONCLUSIVE),
    "settled-once": Canary(breakages.settles_again, TWICE),
    "outcome-as-recorded": Canary(breakages.reports_before_the_disk, SLOW_DISK_WAITED_FOR),
    "both-ends-agree": Canary(breakages.hub_misquotes, HOME),
    "declined-by-news": Canary(breakages.declines_without_news, CALM),
    "hub-honest": Canary(breakages.hub_answers_otherwise, CALM),
    "processor-honest": Canary(breakages.processor_books_nothing, CALM),
    "content-sent": Canary(breakages.adds_a_penny, CALM),
    "told": Canary(breakages.drops_notices, CALM),
    "told-in-order": Canary(breakages.tells_in_any_order, BAD_NOTICES),
    "told-what-happened": Canary(breakages.tells_of_another_step, CALM),
    "journal-whole": Canary(breakages.cuts_too_much, DEATHS),
    "news-kept": Canary(breakages.acknowledges_news_unrecorded, NEWS),
    "keys-kept": Canary(breakages.takes_keys_unrecorded, KEYS),
    "mischief-answered": Canary(breakages.ignores_mischief, MISCHIEF),
    "always-answered": Canary(breakages.stands_in_late, PROCESSOR),
    "asked-first": Canary(breakages.asks_about_some, CALM),
    "within-rules": Canary(breakages.accepts_anything, LIMITED),
    "stopped": Canary(breakages.stops_at_the_next_start, STOPS),
    "always-taken": Canary(breakages.is_often_tired, CALM),
    "stops-rather-than-lies": Canary(breakages.syncs_again, BAD_DISK),
    "nothing-leaks": Canary(breakages.logs_accounts, CALM),
}
"""By the invariant that each breaks."""


LYING_DISK = Canary(breakages.syncs_nothing, CALM)
"""What the first of the nine promises is about, all of it at once."""
CREDULOUS = Canary(breakages.believes_anybody, FORGERIES)
"""What a key is for: a payment that nobody made is asked about, one that was altered, too, and an outcome is told that
nobody has decided.
"""
WAITING_HEART = Canary(breakages.beats_with_the_disk, HUNG_DISK)
"""What would have a supervisor restart what restarting does not help."""


@contextmanager
def canary(name: str) -> Iterator[None]:
    """Break this promise, in this process, meanwhile; empty: none."""
    if not name:
        yield
        return
    with CANARIES[name].broken():
        yield


@contextmanager
def weather(scenario: Scenario) -> Iterator[None]:
    """What else is so in this scenario, meanwhile."""
    if scenario.world is None:
        yield
        return
    with scenario.world():
        yield
