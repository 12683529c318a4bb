"""The engine's side of the scheme's news: records, lines, counts, and nothing of what it says."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway import config, metrics
from gateway.clock import Now
from gateway.engine.batch import Batch
from gateway.engine.hearing import NEWS_LIFTED, Hearing
from gateway.payments.lasting import DAILY_S
from gateway.scheme.news import HandedOn, Lift, Replay
from gateway.wire.message import Message
from tests.conftest import Logged
from tests.fakes.engine import FakeJournal
from tests.fakes.news import CODEC, MEANINGS, OWN, WALL_NS, outbound, usm


class Link:
    """Remembers what its session was given."""

    id = 5
    site = "hub-1"

    def __init__(self) -> None:
        self.managed: list[Message] = []

    def manage(self, message: Message, now: Now) -> None:
        self.managed.append(message)

    def proved(self, size: int) -> None:
        pass

    def disproved(self, size: int, *, key_changes: bool) -> None:
        pass

    def dropped(self, size: int) -> None:
        pass

    def send(self, body: bytes, context: object, *, until_s: float) -> bool:
        return True

    def flush(self) -> None:
        pass


class World:
    """A hearing over a batch, turned by hand."""

    def __init__(self) -> None:
        self.journal = FakeJournal()
        unused: Any = None  # news makes no MAC and asks nothing
        self.batch = Batch(self.journal, unused, unused)
        settings = config.News(own_institutions=(OWN,))
        self.hearing = Hearing(settings, MEANINGS, CODEC, Replay(MEANINGS, CODEC), self.batch)
        self.turn(0.0)
        self.hearing.story.begin(self.batch.now)

    def turn(self, mono_s: float) -> None:
        self.batch.now = Now(mono_s, WALL_NS)
        self.journal.durable = len(self.journal.records)
        while self.batch.pending and self.batch.pending[0][0] <= self.journal.durable:
            waiting: Any = self.batch.pending.popleft()[1]
            waiting(self.batch.now)
        self.hearing.take(self.batch.now)
        self.batch.flush()


@pytest.fixture
def world() -> World:
    return World()


def test_by_a_link(world: World, logged: Logged) -> None:
    """The record is handed to the disk at once; durable, the session gets the message for its 9834."""
    link = Link()
    message = usm("971", service_status="01")
    world.hearing.story.on_usm(message, link, world.batch.now)
    world.batch.flush()
    assert world.journal.kinds() == ["PERMITS", "USM"]
    assert world.journal.handed_over == 2
    assert link.managed == []
    world.turn(1.0)
    assert link.managed == [message]
    assert world.journal.kinds() == ["PERMITS", "USM", "PERMITS"]
    line = logged("the scheme has news")[0]
    assert {name: line[name] for name in ("function_code", "detail", "state", "outcome", "level", "source")} == {
        "function_code": "971", "detail": "service status", "state": "suspended", "outcome": "applied",
        "level": "error", "source": "",
    }  # fmt: skip
    assert world.hearing.story.refusal(outbound()) == "9943"


def test_handed_in(world: World, logged: Logged) -> None:
    """Noted when it comes, heard in the next wake-up, taken when it is durable."""
    took: list[str] = []
    world.hearing.hand_in(HandedOn("usm-a/1", usm("974", cap_status="00").body), took.append)
    assert world.journal.kinds() == ["PERMITS"]
    world.turn(1.0)
    assert world.journal.kinds() == ["PERMITS", "USM"]
    assert took == []
    world.turn(2.0)
    assert took == [""]
    line = logged("the scheme has news")[0]
    assert (line["source"], line["level"]) == ("usm-a/1", "warning")


def test_once_a_day(world: World) -> None:
    """The permits are recorded by the wake-up that finds them due."""
    assert world.hearing.story.next_timer() == DAILY_S
    world.turn(DAILY_S)
    assert world.journal.kinds() == ["PERMITS", "PERMITS"]


def test_an_operators_lift(world: World, logged: Logged) -> None:
    """Ordered for the next wake-up, done when it is durable; a line and a count, without the operator's words."""
    world.hearing.story.on_usm(usm("974", cap_status="01"), Link(), world.batch.now)
    world.turn(1.0)
    done: list[str] = []
    world.hearing.order(Lift("cap"), "as Jo Bloggs says", done.append)
    world.turn(2.0)
    assert world.journal.kinds() == ["PERMITS", "USM", "PERMITS", "LIFTED"]
    assert done == []
    world.turn(3.0)
    assert done == [""]
    line = logged("an operator lifts what the scheme's news has set")[0]
    assert (line["level"], line["detail"], line["institution"]) == ("warning", "cap", "")
    assert "Bloggs" not in str(logged())
    assert world.batch.counts[NEWS_LIFTED] == 1
    assert world.hearing.story.refusal(outbound()) == ""


def test_the_log_says_why_news_was_not_applied(world: World, logged: Logged) -> None:
    """And by how much."""
    for number, (at, status) in enumerate([("1122210000", "00"), ("1122205501", "01")]):
        world.hearing.story.on_usm(usm("971", at, number, service_status=status), Link(), world.batch.now)
    world.hearing.story.on_usm(usm("971", "1122180000", 3, service_status="01"), Link(), world.batch.now)
    world.turn(1.0)
    lines = logged("the scheme has news")
    assert [(line["outcome"], line["reason"]) for line in lines][-1] == (
        "older", "older than what is known, by 3 h",
    )  # fmt: skip
    assert lines[-1]["level"] == "warning"


def test_no_line_holds_what_news_says(world: World, logged: Logged) -> None:
    """Amounts, names and texts are in no line; what came again is no warning; unknown values name their field."""
    link = Link()
    message = usm(
        "975", sitl_new="0000000000987654", institution_name="SECRET BANK", information="SECRET", sitl_status="55"
    )
    world.hearing.story.on_usm(message, link, world.batch.now)
    world.hearing.story.on_usm(message, link, world.batch.now)
    world.turn(1.0)
    assert "SECRET" not in str(logged())
    assert "987654" not in str(logged())
    assert logged("the scheme has news")[0]["reason"] == "unknown values in DE85"
    assert logged("the scheme's news came again")[0]["level"] == "info"


def test_the_metrics(world: World) -> None:
    """By function code and outcome, and what is suspended: a closed set of labels."""
    registry = CollectorRegistry()
    story = world.hearing.story
    registry.register(metrics.SchemeNews(story.counts, story.held))
    story.on_usm(usm("971", service_status="01"), Link(), world.batch.now)
    story.on_usm(usm("123", number=2), Link(), world.batch.now)
    world.turn(1.0)
    text = generate_latest(registry).decode()
    assert 'fps_usm_total{function="971",outcome="applied"} 1.0' in text
    assert 'fps_usm_total{function="other",outcome="unknown"} 1.0' in text
    assert 'fps_scheme_suspended{what="service"} 1.0' in text
    assert 'fps_scheme_suspended{what="own"} 0.0' in text
