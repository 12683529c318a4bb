"""Acts: who may, what waits for the disk, what does not, and the second person."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway import config
from gateway.acts.actors import ANYBODY, Caller
from gateway.acts.book import Book, Entry
from gateway.acts.table import KINDS, Mode
from gateway.clock import Now
from gateway.config.kinds import TwoPersonAct
from gateway.errors import Refusal, Unavailable
from gateway.journal.writer import ACT_BYTES_MAX
from gateway.ops import desk as desk_module
from gateway.ops.desk import DONE_WITHIN_S, RECORD_WITHIN_S, WAITING_MAX, Desk, Effect
from gateway.payments import steps
from tests.conftest import Logged
from tests.fakes.ops import ANNA, BEN, PEER, ordered

MODE = ordered({"mode": "never"})


class Recorder:
    """Keeps what is recorded; durable at once, or when told."""

    def __init__(self) -> None:
        self.acts: list[steps.Act] = []
        self.room = True
        self.hangs = False

    def has_room_for_act(self) -> bool:
        return self.room

    def record_act(self, act: steps.Act) -> tuple[int, trio.Event]:
        assert self.room
        assert steps.unpack(steps.Kind.ACT, steps.pack(act)) == act
        self.acts.append(act)
        durable = trio.Event()
        if not self.hangs:
            durable.set()
        return len(self.acts), durable

    def said(self) -> list[tuple[str, str, str, int]]:
        return [(act.act, act.phase, act.who, act.number) for act in self.acts]


class World:
    """A desk and what it does."""

    def __init__(self, settings: config.Acts, drained: trio.Event | None = None) -> None:
        self.recorder = Recorder()
        self.done: list[object] = []
        self.effect: Callable[[], dict[str, str]] = dict
        self.slow_s = 0.0
        effects: dict[str, Effect] = {"drain": self._drain, "stand-in": self._switch, "reveal": self._switch}
        self.book = Book()
        self.desk = Desk(settings, self.recorder, self.book, effects, lambda: Now(trio.current_time(), 10**9))

    async def _drain(self, takes: object, why: str) -> dict[str, str]:
        self.done.append((takes, why))
        return {}

    async def _switch(self, takes: object, why: str) -> dict[str, str]:
        await trio.sleep(self.slow_s)
        result = self.effect()
        self.done.append((takes, why))
        return result

    async def order(self, caller: Caller, name: str, body: bytes = MODE) -> tuple[int, dict[str, Any]]:
        return await self.desk.order(caller, name, body)

    def states(self) -> list[str]:
        return [entry.state for entry in self.book]


@pytest.fixture
def world() -> World:
    return World(config.Acts())


@pytest.fixture
def two() -> World:
    """Stand-in's mode and looking need a second person."""
    return World(config.Acts(second_person=("stand-in", "reveal"), approve_within_s=60.0))


async def test_an_act_is_recorded_before_it_is_done_and_its_end_after(autojump_clock: MockClock, world: World) -> None:
    """Who, from where, why, what: all of it in the first record."""
    world.recorder.hangs = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.order, ANNA, "stand-in")
        await wait_all_tasks_blocked()
        assert world.recorder.acts == [
            steps.Act("stand-in", "begun", "anna", "uid 1000 by socket", "because", {"mode": "never"})
        ]
        assert world.done == []
        nursery.cancel_scope.cancel()
    world.recorder.hangs = False
    assert await world.order(ANNA, "stand-in") == (200, {"act": 2, "state": "done", "result": {}})
    assert world.done == [(Mode("never"), "because")]
    assert world.recorder.said()[1:] == [("stand-in", "begun", "anna", 0), ("stand-in", "done", "anna", 2)]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "caller", [ANYBODY, PEER, Caller("eve", frozenset({"look"}), "x"), Caller("", frozenset(), "y")]
)
async def test_nobody_acts_without_the_role(world: World, caller: Caller, name: str, logged: Logged) -> None:
    """Whatever the act: nothing is recorded, nothing done; it is said."""
    status, said = await world.order(caller, name)
    assert status == (403 if name in world.desk.names else 404)
    assert (world.recorder.acts, world.done) == ([], [])
    assert len(logged("an act was refused: not this caller's")) == (status == 403)
    assert said["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"\xff", b'{"why": ""}', b'{"why": "x"}', ordered({"mode": "off"}), ordered({"mode": 1}),
        ordered({"mode": "never", "more": 1}), b'{"why": "x", "what": null}', ordered({"mode": "never"}, "x" * 501),
        ordered({"mode": "never"}, "two\nlines"), ordered({"mode": "never"}, "\x1b[2J"),
        b'{"why": "x", "what": ' + b"[" * 60000, b'{"why":"x","why":"y","what":{"mode":"never"}}',
    ],
)  # fmt: skip
async def test_what_is_no_order(world: World, body: bytes) -> None:
    """400; nothing is recorded."""
    status, said = await world.order(ANNA, "stand-in", body)
    assert (status, world.recorder.acts) == (400, [])
    assert said["error"]


async def test_the_longest_order_fits_the_room_that_is_kept(world: World) -> None:
    """However long its words are in bytes."""
    await world.order(ANNA, "reveal", ordered({"scope": "\U0001f4a9" * 200}, "\U0001f4a9" * 500))
    assert max(len(steps.pack(act)) for act in world.recorder.acts) + 100 < ACT_BYTES_MAX


@pytest.mark.parametrize(
    ("error", "status", "phase"), [(Refusal("as it is"), 409, "failed"), (Unavailable("now"), 503, "failed")]
)
async def test_an_act_that_cannot_be_done(world: World, error: Exception, status: int, phase: str) -> None:
    """It is recorded with the reason."""

    def fail() -> dict[str, str]:
        raise error

    world.effect = fail
    assert await world.order(ANNA, "stand-in") == (status, {"act": 1, "state": phase, "error": str(error)})
    assert world.recorder.acts[-1].what == {"error": str(error)}


async def test_an_act_that_takes_too_long(autojump_clock: MockClock, world: World) -> None:
    """Nobody knows whether it is done, and the record says so."""
    world.slow_s = DONE_WITHIN_S + 1
    status, said = await world.order(ANNA, "stand-in")
    assert (status, said["state"], world.states()) == (504, "unknown", ["unknown"])


# --- the disk


async def test_an_act_whose_record_takes_too_long_is_not_done(autojump_clock: MockClock, world: World) -> None:
    """It lapses, and that is recorded behind it: when the disk goes on, both are there."""
    world.recorder.hangs = True
    status, said = await world.order(ANNA, "stand-in")
    assert (status, said) == (503, {"error": f"not done: its record was not on disk within {RECORD_WITHIN_S:g} s"})
    assert world.done == []
    assert world.recorder.said() == [("stand-in", "begun", "anna", 0), ("stand-in", "lapsed", "", 1)]


@pytest.mark.parametrize(("room", "hangs"), [(False, False), (True, True), (False, True)])
async def test_what_makes_us_do_less_waits_for_no_disk(
    autojump_clock: MockClock, world: World, *, room: bool, hangs: bool
) -> None:
    """A full disk, one that hangs: it takes effect at once, and its record follows as soon as there is room."""
    world.recorder.room, world.recorder.hangs = room, hangs
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.desk.run)
        began_s = trio.current_time()
        status, said = await world.order(ANNA, "drain", ordered())
        assert (status, said["state"], trio.current_time() - began_s) == (200, "done", 0)
        assert len(world.done) == 1
        assert (said["act"], len(world.recorder.acts)) == ((1, 1) if room else (None, 0))
        world.recorder.room = True
        await trio.sleep(2)
        assert world.recorder.said() == [("drain", "done", "anna", 0)]
        world.recorder.room = False
        await world.order(ANNA, "drain", ordered())
        await trio.sleep(100)
        assert len(world.recorder.acts) == 1
        world.recorder.room = True
        await trio.sleep(2)
        assert len(world.recorder.acts) == 2
        nursery.cancel_scope.cancel()


async def test_without_room_for_its_record_no_other_act_is_done(world: World) -> None:
    world.recorder.room = False
    assert (await world.order(ANNA, "stand-in"))[0] == 503
    assert (world.done, world.recorder.acts) == ([], [])


async def test_what_has_no_record_yet_is_bounded_and_the_first_stay(world: World, logged: Logged) -> None:
    """Nobody gets rid of what he did by doing more of it; each is in the log, whatever becomes of its record."""
    world.recorder.room = False
    for number in range(desk_module.UNRECORDED_MAX + 5):
        world.desk.signalled("SIGTERM", f"act-{number}")
    assert logged("an act waits for room for its record")
    assert logged("an act has no record: too many wait for room")
    world.recorder.room = True
    world.desk.catch_up()
    assert [act.act for act in world.recorder.acts] == [f"act-{n}" for n in range(desk_module.UNRECORDED_MAX)]


async def test_a_signal_is_an_act_of_nobody_by_name(world: World) -> None:
    world.desk.signalled("SIGTERM", "drain")
    assert world.recorder.said() == [("drain", "done", "", 0)]
    assert world.recorder.acts[0].origin == "signal SIGTERM"


# --- a second person


async def test_another_person_approves(autojump_clock: MockClock, two: World) -> None:
    """Asked, approved, done: three records, each with its name. It is done once."""
    assert await two.order(ANNA, "stand-in") == (202, {"act": 1, "state": "asked", "within_s": 60.0})
    assert two.done == []
    assert await two.order(BEN, "approve", ordered({"number": 1})) == (200, {"act": 1, "state": "done", "result": {}})
    assert two.done == [(Mode("never"), "because")]
    assert two.recorder.said() == [
        ("stand-in", "asked", "anna", 0), ("stand-in", "begun", "ben", 1), ("stand-in", "done", "anna", 1),
    ]  # fmt: skip
    [entry] = two.book
    assert isinstance(entry, Entry)
    assert (entry.who, entry.second, entry.state) == ("anna", "ben", "done")
    assert (await two.order(BEN, "approve", ordered({"number": 1})))[0] == 409


async def test_nobody_approves_their_own(two: World) -> None:
    """Not by another way in either: it is the name that counts."""
    await two.order(BEN, "stand-in")
    status, said = await two.order(BEN._replace(origin="ben by TLS"), "approve", ordered({"number": 1}))
    assert (status, said) == (403, {"error": "ben ordered it: another person must approve"})
    assert two.done == []


@pytest.mark.parametrize("caller", [ANNA, PEER, ANYBODY])
async def test_who_may_not_approve_does_not(two: World, caller: Caller) -> None:
    await two.order(BEN, "stand-in")
    assert (await two.order(caller, "approve", ordered({"number": 1})))[0] == 403
    assert two.done == []


async def test_after_its_time_it_lapses(autojump_clock: MockClock, two: World) -> None:
    await two.order(ANNA, "stand-in")
    await trio.sleep(60)
    assert (await two.order(BEN, "approve", ordered({"number": 1})))[0] == 409
    assert (two.done, two.states()) == ([], ["lapsed"])


async def test_it_can_be_rejected_by_anybody_who_may_approve(two: World) -> None:
    """Also by who ordered it, and on a full disk: that makes us do less."""
    await two.order(BEN, "stand-in")
    two.recorder.room = False
    assert (await two.order(BEN, "reject", ordered({"number": 1})))[0] == 200
    two.recorder.room = True
    two.desk.catch_up()
    assert two.states() == ["lapsed", "done"]
    assert (await two.order(ANNA._replace(roles=BEN.roles), "approve", ordered({"number": 1})))[0] == 409
    assert (await two.order(BEN, "reject", ordered({"number": 1})))[0] == 409


async def test_what_makes_us_do_less_needs_no_second_person() -> None:
    """No setting can demand one."""
    less = {kind.name for kind in KINDS.values() if kind.less}
    assert less == {"drain", "stop-submitting", "reject"}
    assert set(get_args(TwoPersonAct)) == KINDS.keys() - less - {"approve"}


async def test_few_wait(two: World) -> None:
    for _ in range(WAITING_MAX):
        assert (await two.order(ANNA, "stand-in"))[0] == 202
    assert (await two.order(ANNA, "stand-in"))[0] == 503


async def test_two_who_approve_at_once_do_it_once(autojump_clock: MockClock, two: World) -> None:
    await two.order(ANNA, "stand-in")
    two.recorder.hangs = True
    found: list[int] = []

    async def approve(name: str) -> None:
        found.append((await two.order(BEN._replace(name=name), "approve", ordered({"number": 1})))[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(approve, "ben")
        nursery.start_soon(approve, "cleo")
    assert sorted(found) == [409, 503], "the one was not recorded in time, the other found nothing that waits"
    assert two.done == []


# --- what is listed


def test_a_restart_ends_what_was_under_way() -> None:
    """What waited lapsed; of what was begun nobody knows; what was over stays as it was."""
    book = Book()
    for position, phase in enumerate(("asked", "begun", "done"), 1):
        book.take(position, 1, steps.Act("reveal", phase, "anna", "o", "w", {}))
    book.restarted()
    assert [entry.state for entry in book] == ["lapsed", "unknown", "done"]


def test_a_book_is_bounded_and_forgets_the_oldest() -> None:
    """What follows on a forgotten act is passed over."""
    book = Book(2)
    for position in (1, 2, 3):
        book.take(position, 1, steps.Act("reveal", "begun", "anna", "o", "w", {}))
    assert [entry.number for entry in book] == [2, 3]
    assert book.take(4, 1, steps.Act("reveal", "done", "anna", "o", "", {}, 1)) is None
    assert book.get(1) is None
