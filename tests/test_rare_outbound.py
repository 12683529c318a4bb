"""The rare turns of a payment that leaves: between its outcome and the durable record of that, and after it."""

import pytest

from gateway.lifecycle import State
from tests.conftest import Logged
from tests.fakes.engine import World, submission
from tests.fakes.outbound import LIMITS, Heard, answer, kinds, sent, unknown

OTHER = "00000000009999"
"""Another amount than that of `submission`."""


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def heard() -> Heard:
    return Heard()


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


def settling(world: World, heard: Heard) -> None:
    """The hub has answered; that is on its way to the disk."""
    waiting(world, heard)
    answer(world)


def settled(world: World, heard: Heard) -> None:
    """The hub has answered, and that is durable."""
    settling(world, heard)
    world.sync()


@pytest.mark.parametrize("bring", [waiting, settling, settled, giving_up, unknown, withdrawing, unsent])
def test_another_payment_under_the_same_key_is_refused_at_any_time(world: World, heard: Heard, bring: object) -> None:
    """409, and the payment that the key names goes on as if nothing were."""
    assert callable(bring)
    bring(world, heard)
    before, recorded = sent(world.link), kinds(world)
    other = Heard()
    world.submit(other.of(submission(amount=OTHER)))
    assert other.states == ["conflict"]
    world.settle()
    assert sent(world.link) == before
    assert kinds(world) == recorded


def test_who_submits_it_again_while_it_is_given_up_hears_unknown_when_that_is_durable(
    world: World, heard: Heard
) -> None:
    giving_up(world, heard)
    world.submit(heard.of(submission(wait=True)))
    assert heard.states == []
    world.sync()
    assert heard.states == ["UNKNOWN", "UNKNOWN"]


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
def test_an_answer_that_settles_nothing_changes_no_outcome(world: World, heard: Heard, bring: object) -> None:
    """It is kept, and is no contradiction."""
    assert callable(bring)
    bring(world, heard)
    answer(world, "9909")
    world.settle()
    assert kinds(world)[-1] == "UNPLACED"
    standing = heard.all[-1].standing
    assert standing is not None
    assert (standing.state, standing.code) == (State.SETTLED, "0000")


@pytest.mark.parametrize("durable", [False, True])
def test_a_repeat_that_gets_no_mac_is_not_missed_when_the_first_request_was_answered(
    world: World, heard: Heard, *, durable: bool
) -> None:
    """The answer came while the repeat was at the tokens: its failure interrupts nothing and repeats nothing."""
    waiting(world, heard)
    world.later(LIMITS.answer_within_s)
    world.turn()
    repeat = world.signer.batches.pop()
    answer(world)
    if durable:
        world.sync()
    world.signer.batches.append(repeat)
    world.macs(error="unavailable")
    world.settle()
    world.later(LIMITS.repeat_for_s)
    world.settle()
    assert heard.states == ["SETTLED"]
    assert sent(world.link) == ["9200"]
    assert world.engine.in_flight == 0
