"""A payment and the links that it may leave by: one that brings no answers costs few payments a short wait."""

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import metrics
from gateway.config import Ejection
from gateway.wire.message import PaymentRequest
from tests.fakes.engine import FakeLink, World, response, submission
from tests.fakes.outbound import LIMITS, Heard, second, sent

SLOW_S = Ejection().slow_after_s


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[Any]]:
    """What was logged."""
    with capture_logs() as entries:
        yield entries


def new(world: World, heard: Heard, number: int) -> None:
    world.submit(heard.of(submission(f"key-{number}", f"OUT{number}", wait=True)))
    world.settle()


def answers(world: World, link: FakeLink, answered: set[int]) -> None:
    """This link's hub answers all that it has not answered yet."""
    for message in list(link.sent):
        if isinstance(message, PaymentRequest) and id(message) not in answered:
            answered.add(id(message))
            world.frames(response(message), link=link)
            world.macs()
    world.settle()


def fall_silent(world: World, heard: Heard, count: int = 30) -> tuple[FakeLink, FakeLink, set[int]]:
    """Ten payments a second go by two links, of which the first answers none."""
    bad, good = world.link, second(world)
    answered: set[int] = set()
    for number in range(count):
        new(world, heard, number)
        answers(world, good, answered)
        world.later(0.1)
    for _ in range(12):
        world.later(0.25)
        world.settle()
        answers(world, good, answered)
    return bad, good, answered


def test_what_waits_for_a_silent_link_is_repeated_by_the_other_one_and_new_ones_go_there(
    world: World, heard: Heard, lines: list[Any]
) -> None:
    """Long before the hub's time for an answer is over; the one line says what was seen, and so does the metric."""
    bad, good, _ = fall_silent(world, heard)
    assert heard.states == ["SETTLED"] * 30
    assert world.now_s < 10.0 + LIMITS.answer_within_s
    assert set(sent(bad)) == {"9200"}, "nothing goes to the link that failed"
    assert sent(good).count("9201") == len(bad.sent)
    assert len(bad.sent) < 10
    (line,) = [line for line in lines if line["event"] == "link ejected: it gets no new payments"]
    assert (line["link"], line["log_level"]) == (bad.site, "warning")
    assert "had no answer within 1 s" in line["reason"]
    assert metrics.REGISTRY.get_sample_value("fps_link_ejected", {"site": bad.site}) == 1
    assert metrics.REGISTRY.get_sample_value("fps_link_ejections_total", {"site": bad.site})
    statistics: Any = world.engine.statistics()["outbound"]
    assert statistics["links"][bad.site]["share"] == "none"


def test_an_ejected_link_is_tried_with_one_payment_and_one_that_answers_is_well_again(
    world: World, heard: Heard, lines: list[Any]
) -> None:
    bad, good, answered = fall_silent(world, heard)
    before = len(bad.sent)
    world.later(Ejection().pause_s)
    for number in (101, 102, 103):
        new(world, heard, number)
    assert len(bad.sent) == before + 1, "one at a time"
    answers(world, good, answered)
    answered |= {id(message) for message in bad.sent[:-1]}
    answers(world, bad, answered)
    assert heard.states == ["SETTLED"] * 33
    assert [line["event"] for line in lines if "link" in line].count("link is well again: it gets its share") == 1
    assert metrics.REGISTRY.get_sample_value("fps_link_ejected", {"site": bad.site}) == 0


def test_the_one_on_trial_is_repeated_elsewhere_after_a_second(world: World, heard: Heard) -> None:
    """A customer's payment is not held up by our finding out."""
    bad, good, answered = fall_silent(world, heard)
    world.later(Ejection().pause_s)
    new(world, heard, 101)
    assert bad.sent[-1].mti == "9200"
    world.later(SLOW_S)
    world.settle()
    answers(world, good, answered)
    assert heard.states == ["SETTLED"] * 31
    assert good.sent[-1].mti == "9201"


def test_without_another_link_it_waits_for_as_long_as_the_hub_may_take(world: World, heard: Heard) -> None:
    """What was to be repeated early stays where it is: the same link would not answer sooner."""
    bad, good, _ = fall_silent(world, heard)
    world.down(good)
    new(world, heard, 101)
    attempts = len(bad.sent)
    for _ in range(int(4 * (LIMITS.answer_within_s - 1))):
        world.later(0.25)
        world.settle()
    assert len(bad.sent) == attempts
    world.later(1.0)
    world.settle()
    assert len(bad.sent) == attempts + 1
    assert bad.sent[-1].mti == "9201"


def test_an_ejected_links_late_answer_settles_a_payment(world: World, heard: Heard) -> None:
    """It is signed on as ever, and what it says counts."""
    bad, good = world.link, second(world)
    answered: set[int] = set()
    for number in range(30):
        new(world, heard, number)
        if number < 20:
            answers(world, good, answered)
        world.later(0.1)
    for _ in range(8):
        world.later(0.25)
        world.settle()
    settled = len(heard.states)
    assert settled < 30
    assert world.ejection.ejected()
    answers(world, bad, answered)
    assert len(heard.states) > settled
