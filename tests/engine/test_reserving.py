"""Ids of our own management messages are spoken for on disk before they are used."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine import Engine
from gateway.engine.reserving import ADVICE_ROOM_MIN, RESERVE, ROOM_MIN
from gateway.hub.exchanges import MessageIds
from gateway.payments import steps
from gateway.payments.lasting import DAILY_S
from gateway.payments.steps import Kind
from tests.fakes.engine import World
from tests.simulation import canaries, world
from tests.simulation.canaries import Scenario


def ids_of(one: World) -> MessageIds:
    return one.engine.arriving.message_ids


def begun() -> World:
    one = World()
    one.engine.begin(steps.Started("node", "0", "0"))
    return one


def marks(one: World) -> list[int]:
    found = [steps.unpack(kind, body) for kind, body, _ in one.journal.records if kind is Kind.MESSAGE_IDS]
    return [mark.spoken_for for mark in found if isinstance(mark, steps.MessageIds)]


def test_links_wait_until_the_first_mark_is_durable() -> None:
    one = begun()
    assert not one.engine.reserving.begun.is_set()
    one.settle()
    assert one.engine.reserving.begun.is_set()
    assert marks(one) == [RESERVE]


def test_another_mark_is_written_when_half_of_the_reserve_is_left_and_once_a_day() -> None:
    one = begun()
    one.settle()
    ids_of(one).taken = RESERVE - ROOM_MIN
    one.turn()
    assert marks(one) == [RESERVE]
    ids_of(one).take()
    one.turn()
    assert marks(one) == [RESERVE, RESERVE - ROOM_MIN + 1 + RESERVE]
    one.turn()
    one.later(DAILY_S)
    assert marks(one)[1:] == [2 * RESERVE - ROOM_MIN + 1] * 2, "an old segment takes the mark with it"


@given(st.lists(st.one_of(st.integers(1, RESERVE), st.sampled_from(["sync", "kill"])), max_size=12))
def test_no_id_is_used_twice_over_restarts(happens: list[int | str]) -> None:
    """Whatever a kill takes along, as long as the disk keeps up within half of a reserve."""
    one, used = begun(), 0
    one.settle()
    for each in happens:
        if each == "sync":
            one.settle()
        elif each == "kill":
            one = one.restarted()
            assert ids_of(one).taken >= used
            one.settle()
        else:
            one.turn()
            ids_of(one).taken += min(int(each), max(one.engine.reserving._durable - ids_of(one).taken, 0))
            used = ids_of(one).taken


def test_ids_come_round_and_differ_until_then() -> None:
    """Six digits, and never 000000."""
    ids = MessageIds(999_997)
    assert [ids.take() for _ in range(4)] == ["999998", "999999", "000001", "000002"]
    assert MessageIds(3 * 999_999 + 4).take() == "000005"


def test_a_disk_that_hangs_keeps_advices_back_and_lets_requests_go_on() -> None:
    """A sign-off may be urgent then. What could not be read is recorded all the same."""
    one = begun()
    one.settle()
    ids_of(one).taken = RESERVE - ADVICE_ROOM_MIN
    one.frames(b"no message")
    assert ids_of(one).taken == RESERVE - ADVICE_ROOM_MIN + 1
    one.frames(b"no message")
    assert ids_of(one).taken == RESERVE - ADVICE_ROOM_MIN + 1
    rejected = [steps.unpack(kind, body) for kind, body, _ in one.journal.records if kind is Kind.REJECTED]
    assert [bool(each.reply) for each in rejected if isinstance(each, steps.Rejected)] == [True, False]
    ids_of(one).taken = 2 * RESERVE
    assert ids_of(one).take(), "past every mark"
    one.settle()
    one.frames(b"no message")
    assert ids_of(one).taken == 2 * RESERVE + 2, "once a mark ahead of them is durable, advices go out again"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_gateway_that_is_killed_again_and_again_repeats_no_id(seed: int) -> None:
    """The whole process, in the simulation, with clocks that step."""
    processes: dict[int, Engine] = {}
    nodes: dict[int, str] = {}
    taken: dict[str, list[str]] = {}
    begin, take = Engine.begin, MessageIds.take

    def note(self: Engine, started: steps.Started, settings: dict[str, str]) -> list[steps.Act]:
        processes[id(self.arriving.message_ids)] = self
        nodes[id(self.arriving.message_ids)] = started.node
        return begin(self, started, settings)

    def count(self: MessageIds) -> str:
        number = take(self)
        assert self.taken <= processes[id(self)].reserving._durable, "spoken for on the disk before it is used"
        taken.setdefault(nodes[id(self)], []).append(number)
        return number

    weather = Scenario({"kill": 15.0, "clock": 15.0}, {"lasts_s": 120.0})
    with patch.object(Engine, "begin", note), patch.object(MessageIds, "take", count):
        outcome = world.simulate(canaries.settings(weather, seed))
    assert not outcome.failure
    assert not [one.name for one in outcome.verdict.invariants if one.violations]
    for numbers in taken.values():
        assert len(numbers) == len(set(numbers)) > 10
