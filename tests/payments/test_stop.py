"""An operator stops submitting, and starts it again: what leaves, what becomes of what was under way, what is heard."""

from collections.abc import Callable

import pytest
import trio

from gateway.clock import Now
from gateway.errors import Refusal
from gateway.payments import steps
from gateway.payments.lasting import DAILY_S
from gateway.payments.outbound_law import State
from gateway.payments.reporting import LINGER_S
from gateway.payments.steps import Kind
from gateway.payments.stopping import TAKEN_UP_PER_S
from gateway.payments.submitting import WHY
from gateway.payments.work import Standing
from tests.conftest import Logged
from tests.fakes.engine import FakeLink, World, payment, response, submission
from tests.fakes.outbound import LIMITS, Heard, answer, kinds, second, sent, start, started


def stop(world: World) -> trio.Event:
    """An operator does; nothing else happens yet."""
    return world.engine.control.stop_submitting()


def standing(world: World, key: str = "key-1") -> Standing:
    found = world.engine.look(key)
    assert found is not None
    return found


def reasons(world: World, kind: Kind) -> list[str]:
    """What the records of this kind give as reason."""
    found = [steps.unpack(each, body) for each, body, _ in world.journal.records if each is kind]
    return [each.reason for each in found if isinstance(each, steps.Unsettled)]


def waiting(world: World, heard: Heard) -> None:
    """A payment of ours has left, and waits for its answer."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    world.written()


# --- what leaves


def neither(world: World) -> None:
    pass


def authentic(world: World) -> None:
    world.macs()


def durable(world: World) -> None:
    world.sync()


def ready(world: World) -> None:
    world.macs()
    world.sync()


@pytest.mark.parametrize("far", [neither, authentic, durable, ready])
def test_what_has_not_left_never_does_however_far_it_is(
    world: World, heard: Heard, far: Callable[[World], None]
) -> None:
    """On its way to disk and token, durable, authentic, or in a link's buffer: it is UNSENT, and told with a reason."""
    world.submit(heard.of(submission(wait=True)))
    far(world)
    stop(world)
    world.settle()
    world.written()
    world.later(LIMITS.repeat_for_s)
    world.settle()
    assert sent(world.link) == []
    assert heard.states == ["UNSENT"]
    assert kinds(world) == ["SUBMITTED", "SUBMIT_MODE", "UNSENT"]
    assert reasons(world, Kind.UNSENT) == ["stopped"]
    assert world.engine.in_flight == 0


def test_a_repeat_that_waits_in_a_links_buffer_is_taken_back_and_what_left_before_is_unknown(
    world: World, heard: Heard
) -> None:
    """Of several in the buffer each by itself; replies of ours stay, and leave."""
    waiting(world, heard)
    other = second(world)
    world.down(world.link)
    world.later(LIMITS.pause_s)
    world.settle()
    world.submit(submission("key-2", "OUT2"))
    world.frames(payment(), link=other)
    world.settle()
    world.answer()
    world.settle()
    assert sorted(sent(other)) == ["9200", "9201", "9210"]
    stop(world)
    world.settle()
    assert sent(other) == ["9210"]
    assert standing(world).state is State.UNKNOWN
    assert standing(world, "key-2").state is State.UNSENT
    assert heard.states == ["UNKNOWN"]


def test_an_answer_by_a_link_that_carried_nothing_is_none(world: World, heard: Heard) -> None:
    """A request that was taken back out of a link's buffer did not leave by it, whatever left by others."""
    waiting(world, heard)
    other = second(world)
    world.later(LIMITS.answer_within_s)
    world.settle()
    (repeat,) = other.sent
    stop(world)
    world.settle()
    world.frames(response(repeat), link=other)
    world.settle()
    assert kinds(world)[-1] == "UNPLACED"
    answer(world)
    world.settle()
    assert standing(world).state is State.SETTLED


def test_what_is_taken_back_is_held_against_no_link(world: World) -> None:
    """No answer is owed for it: neither a link with its full share nor one on trial is judged by it."""
    world.submit(*(submission(f"key-{n}", f"OUT{n}") for n in range(8)))
    world.settle()
    site = world.ejection._sites[world.link.site]
    assert len(site.owed) == 8
    stop(world)
    assert not site.owed
    assert all(sample.void for sample in site.samples)


def test_what_may_have_left_waits_for_its_answer_and_is_not_repeated(world: World, heard: Heard) -> None:
    """Without one it is UNKNOWN after the time of one answer, told as such, and no drain waits for it any more."""
    waiting(world, heard)
    second(world)
    stop(world)
    world.settle()
    assert standing(world).state is State.WAITING
    assert world.engine.in_flight == 1
    world.later(LIMITS.answer_within_s)
    world.settle()
    assert heard.states == ["UNKNOWN"]
    assert reasons(world, Kind.UNKNOWN) == ["stopped"]
    assert world.engine.in_flight == 0
    world.later(LIMITS.repeat_for_s)
    world.settle()
    assert [sent(link) for link in world.links] == [["9200"], []]


@pytest.mark.parametrize("how", ["waiting", "unknown"])
def test_an_answer_that_comes_meanwhile_settles_it(world: World, heard: Heard, how: str) -> None:
    """Receiving goes on: the answer to what left before, while it is waited for and after."""
    waiting(world, heard)
    stop(world)
    world.settle()
    if how == "unknown":
        world.later(LIMITS.answer_within_s)
        world.settle()
    answer(world)
    world.settle()
    assert standing(world).state is State.SETTLED
    assert start(world) == 0
    world.later(LIMITS.answer_within_s)
    world.settle()
    assert sent(world.link) == ["9200"], "what is settled is not taken up"


@pytest.mark.parametrize("end", ["lost", "lost-writing", "inconclusive", "paused", "no-hsm"])
def test_however_an_attempt_ends_what_may_have_left_is_unknown_at_once(world: World, heard: Heard, end: str) -> None:
    """No pause is waited for: nothing would come of it."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    writing = list(world.link.contexts)
    world.written()
    if end == "no-hsm":
        second(world)
        world.later(LIMITS.answer_within_s)
        assert kinds(world)[-1] == "RETRIED"
    elif end == "paused":
        world.down(world.link)
    stop(world)
    if end == "lost":
        world.down(world.link)
    elif end == "lost-writing":
        world.engine.unsent(world.link, writing, surely=False)
        world.down(world.link)
    elif end == "inconclusive":
        answer(world, "9909")
    elif end == "no-hsm":
        world.macs(error="unavailable")
    world.settle()
    assert heard.states == ["UNKNOWN"]
    assert reasons(world, Kind.UNKNOWN) == ["stopped"]


def test_what_had_no_attempt_left_anyway_does_not_wait_for_the_start(world: World, heard: Heard) -> None:
    """It is UNKNOWN as it would be without a stop, and the processor decides."""
    waiting(world, heard)
    for _ in range(LIMITS.repeats_max):
        world.later(LIMITS.answer_within_s)
        world.turn()
        world.settle()
        world.written()
    stop(world)
    world.later(LIMITS.answer_within_s)
    world.settle()
    assert reasons(world, Kind.UNKNOWN) == ["no-answer"]
    assert start(world) == 0


# --- at once, and for good


def test_a_stop_is_in_effect_whatever_the_disk_does(world: World, heard: Heard, logged: Logged) -> None:
    """In the same moment, while a disk hangs; that it is durable is said when it is."""
    world.submit(heard.of(submission(wait=True)))
    world.macs()
    written = stop(world)
    world.submit(heard.of(submission("key-2", "OUT2")))
    assert heard.states == ["unavailable"]
    assert heard.all[0].why == WHY
    world.turn()
    assert not written.is_set()
    world.sync()
    assert written.is_set()
    assert len(logged("an operator has stopped submitting: no payment leaves")) == 1
    world.settle()
    assert sent(world.link) == []
    assert world.engine.counts["outbound_stopped"] == 1


def test_stopped_twice_is_stopped_once_and_since_the_first_time(world: World) -> None:
    """Whoever orders it the second time hears when it is durable, too."""
    stop(world)
    world.settle()
    since_ns = world.engine.outbound.submitting.since_ns
    assert since_ns
    again = stop(world)
    world.settle()
    assert again.is_set()
    assert world.engine.outbound.submitting.since_ns == since_ns
    assert world.engine.counts["outbound_stopped"] == 1


def test_a_stop_holds_over_restarts_and_nothing_that_was_under_way_leaves(world: World, heard: Heard) -> None:
    """What a killed process left under way is not repeated, but UNKNOWN; after the start it is repeated."""
    world.submit(submission())
    world.settle()
    world.written()
    stop(world)
    world.turn()
    world.sync()
    world = world.restarted(after_s=1.0)
    assert world.engine.outbound.submitting.stopped
    assert kinds(world)[-1] == "SUBMIT_MODE"
    world.submit(heard.of(submission("key-2", "OUT2")))
    world.later(LIMITS.pause_s)
    world.settle()
    assert heard.states == ["unavailable"]
    assert sent(world.link) == []
    assert standing(world).state is State.UNKNOWN
    assert start(world) == 1
    world.later(0)
    world.settle()
    assert sent(world.link) == ["9201"]
    again = world.restarted(after_s=1.0)
    assert not again.engine.outbound.submitting.stopped


def test_a_stop_that_never_became_durable_is_forgotten_by_a_restart(world: World) -> None:
    """Whoever ordered it was told that it is not on disk yet."""
    written = stop(world)
    world.turn()
    assert not written.is_set()
    assert not world.restarted().engine.outbound.submitting.stopped


def test_a_stop_is_recorded_anew_each_day_and_what_is_not_stopped_is_not(world: World) -> None:
    """Retention deletes the record that said it first. That nothing is stopped needs no record."""
    world.later(DAILY_S + 1)
    assert "SUBMIT_MODE" not in kinds(world)
    stop(world)
    world.later(DAILY_S - 1)
    assert kinds(world).count("SUBMIT_MODE") == 1
    world.later(2)
    assert kinds(world).count("SUBMIT_MODE") == 2
    start(world)
    world.later(2 * DAILY_S)
    assert kinds(world).count("SUBMIT_MODE") == 3
    orders = [steps.unpack(kind, body) for kind, body, _ in world.journal.records if kind is Kind.SUBMIT_MODE]
    assert [order.stopped for order in orders if isinstance(order, steps.SubmitMode)] == [True, True, False]


# --- who submits meanwhile


def test_who_submits_meanwhile_hears_why_not_and_what_is_known_keeps_its_standing(world: World, heard: Heard) -> None:
    """New and UNSENT: 503. UNKNOWN is not called unavailable, which would say that nothing left."""
    waiting(world, heard)
    world.submit(heard.of(submission("key-2", "OUT2", wait=True)))
    stop(world)
    world.settle()
    world.later(LIMITS.answer_within_s)
    world.settle()
    assert heard.states == ["UNSENT", "UNKNOWN"]
    before = kinds(world)
    world.submit(*(heard.of(submission(f"key-{n}", f"OUT{n}")) for n in (1, 2, 3)))
    assert heard.states[2:] == ["UNKNOWN", "unavailable", "unavailable"]
    assert kinds(world) == before


# --- the start


def test_nothing_leaves_before_the_start_is_durable(world: World, heard: Heard, logged: Logged) -> None:
    waiting(world, heard)
    stop(world)
    world.later(LIMITS.answer_within_s)
    world.settle()

    def meanwhile() -> None:
        world.turn()
        world.submit(heard.of(submission("key-2", "OUT2")))
        assert heard.states == ["UNKNOWN", "unavailable"]
        assert logged("an operator has started submitting again") == []
        world.settle()

    assert started(world, meanwhile) == 1
    assert len(logged("an operator has started submitting again")) == 1
    world.settle()
    assert sent(world.link) == ["9200", "9201"]
    answer(world)
    world.settle()
    assert standing(world).state is State.SETTLED


def test_what_a_start_takes_up_has_all_its_attempts_anew(world: World, heard: Heard) -> None:
    """However long the stop stood: a person has ended it. Then it is UNKNOWN as ever, and no start takes it up."""
    waiting(world, heard)
    stop(world)
    world.later(LIMITS.answer_within_s)
    world.settle()
    world.later(10 * LIMITS.repeat_for_s)
    start(world)
    for _ in range(2 * LIMITS.repeats_max):
        world.later(LIMITS.answer_within_s)
        world.turn()
        world.settle()
    assert sent(world.link) == ["9200"] + ["9201"] * LIMITS.repeats_max
    assert reasons(world, Kind.UNKNOWN) == ["stopped", "no-answer"]
    stop(world)
    world.settle()
    assert start(world) == 0


def test_a_stop_while_a_start_is_on_its_way_wins(world: World) -> None:
    """Whoever ordered the start hears that it did not come to be."""
    stop(world)
    world.settle()

    def meanwhile() -> None:
        stop(world)
        world.settle()

    with pytest.raises(ExceptionGroup) as caught:
        started(world, meanwhile)
    assert caught.group_contains(Refusal, match="another order")
    assert world.engine.outbound.submitting.stopped
    assert world.restarted().engine.outbound.submitting.stopped


def test_where_nothing_is_stopped_a_start_does_nothing(world: World) -> None:
    assert start(world) == 0
    assert kinds(world) == []


def test_what_becomes_unknown_while_the_start_is_on_its_way_is_repeated(world: World, heard: Heard) -> None:
    """Its record is durable after the start's."""
    waiting(world, heard)
    stop(world)
    world.settle()

    def meanwhile() -> None:
        world.turn()
        world.later(LIMITS.answer_within_s)
        assert kinds(world)[-2:] == ["SUBMIT_MODE", "UNKNOWN"]
        world.journal.durable = len(kinds(world)) - 1
        world.engine.on_durable(world.journal.durable)
        world.turn()

    assert started(world, meanwhile) == 0
    world.settle()
    world.later(0)
    world.settle()
    assert sent(world.link) == ["9200", "9201"]


def test_a_start_that_a_killed_process_did_not_carry_out_is_carried_out_by_the_next(
    world: World, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is durable, and no repeat is. Where the start was long ago, nothing leaves by surprise."""
    waiting(world, heard)
    stop(world)
    world.later(LIMITS.answer_within_s)
    world.settle()

    def killed() -> None:
        world.turn()
        world.journal.durable = world.journal.handed_over
        raise RuntimeError("killed")

    with pytest.raises(ExceptionGroup):
        started(world, killed)
    soon = world.restarted(after_s=1.0)
    soon.later(LIMITS.pause_s)
    soon.settle()
    assert sent(soon.link) == ["9201"]
    wall_ns = world.now.wall_ns + int((LIMITS.repeat_for_s + 1) * 1e9)
    monkeypatch.setattr(World, "now", property(lambda world: Now(world.now_s, wall_ns)))
    late = world.restarted(after_s=LIMITS.repeat_for_s + 1)
    late.later(LIMITS.pause_s)
    late.settle()
    assert sent(late.link) == []
    assert reasons(late, Kind.UNKNOWN) == ["stopped", "no-answer"]
    assert not late.engine.outbound.in_flight


def test_what_is_taken_up_leaves_at_a_pace(world: World) -> None:
    """All at once would not fit into a link's buffer."""
    count = 200
    world.submit(*(submission(f"key-{n}", f"OUT{n}") for n in range(count)))
    world.settle()
    world.written()
    stop(world)
    world.later(LIMITS.answer_within_s)
    world.settle()
    assert start(world) == count
    world.settle()
    assert len(world.link.sent) - count < count / 2
    world.later(count / TAKEN_UP_PER_S)
    world.settle()
    assert len(world.link.sent) == 2 * count


def test_what_waits_for_the_start_is_held_whatever_becomes_of_its_connections(world: World, heard: Heard) -> None:
    """Others that are UNKNOWN leave memory when no connection can bring an answer any more."""
    waiting(world, heard)
    stop(world)
    world.down(world.link)
    world.settle()
    world.later(LINGER_S)
    world.settle()
    assert world.engine.outbound.statistics()["cut_off"] == 1
    world.submitting.append(FakeLink(id=9))
    assert start(world) == 1
    world.later(0)
    world.settle()
    assert sent(world.submitting[-1]) == ["9201"]
    assert world.engine.outbound.statistics()["cut_off"] == 0
