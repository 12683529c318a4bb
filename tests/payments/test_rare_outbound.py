"""The rare turns of a payment that leaves: between its outcome and the durable record of that, and after it."""

from collections.abc import Callable

import pytest

from gateway.payments.outbound_law import State
from gateway.payments.work import MacError
from tests.conftest import Logged
from tests.fakes.engine import World, submission
from tests.fakes.outbound import LIMITS, Heard, answer, kinds, second, sent, unknown

Bring = Callable[[World, Heard], None]

OTHER = "00000000009999"
"""Another amount than that of `submission`."""


def giving_up(world: World, heard: Heard) -> None:
    """Nobody has answered; that it is unknown is on its way to the disk."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    while "UNKNOWN" not in kinds(world):
        world.later(LIMITS.answer_within_s)
        if "UNKNOWN" not in kinds(world):
            world.settle()
    assert heard.states == []


def withdrawing(world: World, heard: Heard) -> None:
    """It never left; that is on its way to the disk."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.down(world.link, surely=True)
    while "UNSENT" not in kinds(world):
        world.later(LIMITS.pause_max_s)
        while world.signer.batches:
            world.macs()
    assert heard.states == []


def unsent(world: World, heard: Heard) -> None:
    """It never left, and that is durable."""
    withdrawing(world, heard)
    world.sync()


def waiting(world: World, heard: Heard) -> None:
    """It has left."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()


def pausing(world: World, heard: Heard) -> None:
    """It has left twice; the second connection is gone, the first one could still bring an answer."""
    other = second(world)
    waiting(world, heard)
    world.later(LIMITS.answer_within_s)
    world.settle()
    repeated = other if sent(other) == ["9201"] else world.link
    assert sent(repeated) == ["9201"]
    world.link = world.link if repeated is other else other
    world.down(repeated)


def repeating(world: World, heard: Heard) -> None:
    """It has left; its repeat is at the tokens, and its record on its way to the disk."""
    waiting(world, heard)
    world.later(LIMITS.answer_within_s)
    assert kinds(world)[-1] == "RETRIED"


def settling(world: World, heard: Heard) -> None:
    """The hub has answered; that is on its way to the disk."""
    waiting(world, heard)
    answer(world)


def settled(world: World, heard: Heard) -> None:
    """The hub has answered, and that is durable."""
    settling(world, heard)
    world.sync()


def answered_beside(world: World, code: str) -> None:
    """The hub answers what left first, while a repeat is at the tokens; it stays there."""
    repeat = world.signer.batches.pop()
    answer(world, code)
    world.signer.batches.append(repeat)


@pytest.mark.parametrize(
    "bring", [waiting, pausing, repeating, settling, settled, giving_up, unknown, withdrawing, unsent]
)
def test_another_payment_under_the_same_key_is_refused_at_any_time(world: World, heard: Heard, bring: Bring) -> None:
    """409, and the payment that the key names goes on as if nothing were."""
    bring(world, heard)
    before, recorded = sent(world.link), kinds(world)
    other = Heard()
    world.submit(other.of(submission(amount=OTHER)))
    assert other.states == ["conflict"]
    assert sent(world.link) == before
    assert kinds(world) == recorded


@pytest.mark.parametrize("bring", [waiting, pausing, repeating, settling, giving_up, withdrawing])
def test_who_submits_it_again_while_it_is_under_way_waits_too(world: World, heard: Heard, bring: Bring) -> None:
    """Nothing is recorded or sent for that, and both hear the same in the end."""
    bring(world, heard)
    recorded = kinds(world)
    world.submit(heard.of(submission(wait=True)))
    assert heard.states == []
    assert kinds(world) == recorded
    for _ in range(50):
        world.settle()
        world.later(LIMITS.answer_within_s)
    assert len(heard.states) == 2
    assert len(set(heard.states)) == 1


def test_an_answer_to_what_left_first_settles_it_while_the_repeat_pauses(world: World, heard: Heard) -> None:
    """The repeat's connection is gone, the other one stands: nothing is sent any more."""
    pausing(world, heard)
    answer(world, "9909")
    world.settle()
    assert kinds(world)[-1] == "INCONCLUSIVE"
    answer(world)
    world.settle()
    world.later(LIMITS.pause_max_s)
    world.settle()
    assert heard.states == ["SETTLED"]
    assert sent(world.link) == ["9200"]


def test_an_answer_that_settles_nothing_does_not_hold_up_the_repeat(world: World, heard: Heard) -> None:
    repeating(world, heard)
    answered_beside(world, "9909")
    world.settle()
    assert "INCONCLUSIVE" in kinds(world)
    assert sent(world.link) == ["9200", "9201"]


def test_an_answer_that_settles_nothing_does_not_keep_it_from_being_given_up(
    world: World, heard: Heard, logged: Logged
) -> None:
    giving_up(world, heard)
    answer(world, "9909")
    world.settle()
    assert heard.states == ["UNKNOWN"]
    assert kinds(world)[-2:] == ["UNKNOWN", "INCONCLUSIVE"]
    assert logged("answer of the hub settles nothing")


def test_an_answer_that_settles_nothing_leaves_unknown_unknown(world: World, heard: Heard) -> None:
    """And one that does, settles it still."""
    unknown(world, heard)
    answer(world, "9909")
    world.settle()
    assert kinds(world)[-1] == "INCONCLUSIVE"
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.UNKNOWN
    answer(world)
    world.settle()
    found = world.engine.look("key-1")
    assert found is not None
    assert found.state is State.SETTLED


@pytest.mark.parametrize("bring", [settling, settled])
def test_an_answer_that_settles_nothing_changes_no_outcome(world: World, heard: Heard, bring: Bring) -> None:
    """It is kept, and is no contradiction."""
    bring(world, heard)
    answer(world, "9909")
    world.settle()
    assert kinds(world)[-1] == "UNPLACED"
    standing = heard.all[-1].standing
    assert standing is not None
    assert (standing.state, standing.code) == (State.SETTLED, "0000")


@pytest.mark.parametrize("error", ["", "unavailable"], ids=["in time", "never"])
@pytest.mark.parametrize("durable", [False, True])
def test_a_repeat_is_not_sent_when_the_first_request_was_answered_meanwhile(
    world: World, heard: Heard, *, durable: bool, error: MacError
) -> None:
    """Whether it gets its MAC or not: it interrupts nothing, and nothing is repeated for it."""
    repeating(world, heard)
    answered_beside(world, "0000")
    if durable:
        world.sync()
    world.macs(error=error)
    world.settle()
    world.later(LIMITS.repeat_for_s)
    world.settle()
    assert heard.states == ["SETTLED"]
    assert sent(world.link) == ["9200"]
    assert world.engine.in_flight == 0
