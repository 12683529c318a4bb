"""After a restart each payment that left is repeated, settled or unknown, and none is sent again that is too old."""

from gateway.payments.outbound_law import State
from tests.fakes.engine import World, response, submission
from tests.fakes.outbound import LIMITS, Heard, answer, kinds, sent, unknown


def test_another_round_survives_a_restart_although_all_before_it_is_forgotten(world: World, heard: Heard) -> None:
    """The segments with its UNKNOWN are deleted: the record of the repeat holds all that is needed."""
    unknown(world, heard)
    world.submit(submission())
    world.settle()
    (retried,) = [number for number, kind in enumerate(kinds(world)) if kind == "RETRIED"][-1:]
    world.journal.records = world.journal.records[retried:]
    world.journal.durable = world.journal.handed_over = len(world.journal.records)
    again = world.restarted(after_s=1.0)
    found = again.engine.look("key-1")
    assert found is not None
    assert found.state is State.WAITING


def test_a_restart_by_a_clock_that_went_back_sends_nothing(world: World) -> None:
    """Nobody knows how old the payment is."""
    world.submit(submission())
    world.settle()
    world = world.restarted(after_s=-86400.0)
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == []
    assert kinds(world)[-1] == "UNKNOWN"


def test_a_restart_repeats_what_was_under_way(world: World, heard: Heard) -> None:
    world.submit(submission())
    world.settle()
    world = world.restarted(after_s=1.0)
    world.submit(heard.of(submission(wait=True)))
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == ["9201"]
    answer(world)
    world.settle()
    assert heard.states == ["SETTLED"]


def test_a_restart_sends_nothing_that_is_too_old(world: World) -> None:
    """Days later a payment must not be made by surprise: it is UNKNOWN, and the processor decides."""
    world.submit(submission())
    world.settle()
    world = world.restarted(after_s=LIMITS.repeat_for_s + 1)
    world.later(LIMITS.pause_s)
    world.settle()
    assert sent(world.link) == []
    assert kinds(world)[-1] == "UNKNOWN"


def test_a_restart_remembers_outcomes_and_keys(world: World, heard: Heard) -> None:
    world.submit(submission(), submission("key-2", "OUT2"))
    world.settle()
    for code, request in zip(("0081", "1114"), list(world.link.sent), strict=True):
        world.frames(response(request, code))
    world.settle()
    world = world.restarted(after_s=1.0)
    world.submit(heard.of(submission()), heard.of(submission("key-2", "OUT2")), heard.of(submission("key-3", "OUT2")))
    assert [one.refused or (one.standing and one.standing.code) for one in heard.all] == ["0081", "1114", "conflict"]
