"""Links are held, muted, drained and finished, also at the moment when one is being made."""

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from gateway.hub.pool import MUTE
from gateway.hub.rules import Direction, SignOnState
from tests.hub.conftest import Make

# --- hold, drain, finish


async def test_hold_and_resume_on_all_links(make_world: Make, nursery: trio.Nursery, autojump_clock: object) -> None:
    """Also those that come later; any number of times."""
    world = make_world("a", "b")
    world.refuse.add("b")
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    world.links.hold()
    world.links.hold()
    await wait_all_tasks_blocked()
    assert world.hubs[0].requests == ["891", "881", "892"]
    assert world.links.ready() == "no link is signed on to receive (on hold)"
    assert not world.links.receiving()
    world.refuse.clear()
    await world.engine.until("up", 2)
    await wait_all_tasks_blocked()
    assert world.hubs[1].requests == ["881"]
    world.links.resume()
    world.links.resume()
    await wait_all_tasks_blocked()
    assert world.hubs[0].requests == ["891", "881", "892", "891"]
    assert world.hubs[1].requests == ["881", "891"]
    assert world.links.ready() == ""


async def test_a_hub_that_refuses_our_sign_off_is_asked_again_and_people_hear_of_it(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object, logged: Any
) -> None:
    """It may go on sending: that is said, and each further refusal too, until it lets us go."""
    world = make_world("a")
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    hub = world.hubs[0]
    hub.codes["892"] = "9909"
    world.links.hold()
    await hub.until(lambda hub: hub.requests.count("892") == 2)
    hub.codes["892"] = "0000"
    await hub.until(lambda hub: hub.requests.count("892") == 3)
    await wait_all_tasks_blocked()
    lines = logged("sign-off refused")
    assert [(line["level"], line["direction"], line["code"]) for line in lines] == [("warning", "receive", "9909")] * 2
    assert not world.links.receiving()


async def test_mute_closes_every_link_and_dials_none(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """The one sign-off without a MAC: a hub that keeps its connection would go on sending. With a voice again, the
    links are dialled at once and sign on.
    """
    world = make_world("a", "b")
    nursery.start_soon(world.links.run)
    await trio.sleep(1)
    world.engine.transmitting = False
    world.links.hold()
    await trio.sleep(5)
    assert world.links.receiving(), "a sign-off that nobody could make"
    for link in world.links.links:
        link.send(b"9210 reply", link.site)
    world.links.hold(mute=True)
    world.links.hold(mute=True)
    assert world.links.mute
    assert not world.links.receiving()
    await world.engine.until("down", 2)
    assert [event[2] for event in world.engine.of("down")] == [MUTE, MUTE]
    await wait_all_tasks_blocked()
    assert [hub.bodies for hub in world.hubs] == [[b"9210 reply"]] * 2, "what has its MAC still leaves"
    assert all(hub.closed.is_set() for hub in world.hubs)
    await trio.sleep(3600)
    assert len(world.dials) == 2
    assert world.links.ready() == "no link to the hub: mute, none is dialled until a MAC can be made"
    world.engine.transmitting = True
    start_s = trio.current_time()
    world.links.resume()
    world.links.resume()
    await wait_all_tasks_blocked()
    assert trio.current_time() == start_s
    assert [hub.requests for hub in world.hubs[2:]] == [["891", "881"]] * 2
    assert world.links.ready() == ""


async def test_mute_from_the_start_dials_nobody(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Until there is a voice; still on hold, it signs on to submit only."""
    world = make_world("a")
    world.links.hold(mute=True)
    nursery.start_soon(world.links.run)
    await trio.sleep(3600)
    assert world.dials == []
    world.links.hold()
    await wait_all_tasks_blocked()
    assert world.hubs[0].requests == ["881"]
    assert world.links.ready() == "no link is signed on to receive (on hold)"
    world.links.resume()
    await wait_all_tasks_blocked()
    assert world.links.ready() == ""


@pytest.mark.parametrize("trouble", ["refuse", "hang"])
@pytest.mark.parametrize("wait_s", [0.0, 1.0, 7.77])
async def test_mute_and_resume_while_dialling(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object, trouble: str, wait_s: float
) -> None:
    """In the middle of an attempt and in the pause between two; also when nothing happened between both."""
    world = make_world("a")
    getattr(world, trouble).add("a")
    nursery.start_soon(world.links.run)
    await trio.sleep(wait_s)
    await wait_all_tasks_blocked()
    dials = len(world.dials)
    world.links.hold(mute=True)
    await trio.sleep(600)
    assert len(world.dials) == dials
    for blink in (False, True):
        world.links.resume()
        if blink:
            world.links.hold(mute=True)
            world.links.resume()
        await wait_all_tasks_blocked()
        dials += 1
        assert world.dials[dials - 1 :] == [("a", trio.current_time())]


async def test_mute_and_resume_while_a_link_lives(make_world: Make, nursery: trio.Nursery) -> None:
    """Without time between both, the link that was closed is followed by another at once."""
    world = make_world("a")
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    world.links.hold(mute=True)
    world.links.resume()
    await wait_all_tasks_blocked()
    assert [event[2] for event in world.engine.of("down")] == [MUTE]
    assert world.hubs[1].requests == ["891", "881"]
    assert world.links.ready() == ""


async def test_mute_at_the_moment_of_a_connection(make_world: Make, nursery: trio.Nursery) -> None:
    """The stream that came too late is closed, and nothing was said on it."""
    world = make_world("a")
    world.prepare = lambda _site, _hub: world.links.hold(mute=True)
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    assert world.hubs[0].closed.is_set()
    assert world.hubs[0].requests == []
    assert world.engine.of("up") == []
    assert len(world.dials) == 1


@pytest.mark.parametrize("drain_first", [False, True])
async def test_drain_and_finish_while_mute(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object, *, drain_first: bool
) -> None:
    """There is no hub to sign off from: it takes no time."""
    world = make_world("a", "b")
    ended = trio.Event()

    async def run() -> None:
        await world.links.run()
        ended.set()

    nursery.start_soon(run)
    await trio.sleep(20)
    if drain_first:
        world.links.drain()
    world.links.hold(mute=True)
    await trio.sleep(20)
    start_s = trio.current_time()
    world.links.drain()
    assert not world.links.receiving()
    await world.links.finish()
    await ended.wait()
    assert trio.current_time() == start_s
    world.links.resume()
    await trio.sleep(60)
    assert len(world.dials) == 2


async def test_finish_and_mute_at_once(make_world: Make, nursery: trio.Nursery, autojump_clock: object) -> None:
    """A finish that waits for a sign-off without a MAC ends when we are mute."""
    world = make_world("a")
    nursery.start_soon(world.links.run)
    await trio.sleep(1)
    world.engine.transmitting = False
    start_s = trio.current_time()
    nursery.start_soon(world.links.finish)
    await wait_all_tasks_blocked()
    world.links.hold(mute=True)
    await world.links.finish()
    assert trio.current_time() == start_s
    assert len(world.dials) == 1


async def test_drain_then_finish(make_world: Make, nursery: trio.Nursery) -> None:
    """Off to receive, replies still leave; then off to submit, closed, and `run` ends."""
    world = make_world("a", "b")
    ended = trio.Event()

    async def run() -> None:
        await world.links.run()
        ended.set()

    nursery.start_soon(run)
    await wait_all_tasks_blocked()
    assert world.links.receiving()
    world.links.drain()
    world.links.drain()
    await wait_all_tasks_blocked()
    assert not world.links.receiving()
    assert world.links.ready() == "draining: signed off to receive"
    for number, link in enumerate(world.links.links):
        assert link.session.state(Direction.RECEIVE) is SignOnState.OFF
        assert link.session.signed_on(Direction.SUBMIT)
        link.send(b"9210 reply", number)
        link.flush()
    await world.engine.until("sent", 2)
    await wait_all_tasks_blocked()
    assert [hub.bodies for hub in world.hubs] == [[b"9210 reply"]] * 2
    world.links.resume()
    await wait_all_tasks_blocked()
    await world.links.finish()
    await ended.wait()
    assert [hub.requests for hub in world.hubs] == [["891", "881", "892", "882"]] * 2
    assert [event[2] for event in world.engine.of("down")] == ["signed off"] * 2
    assert world.links.links == []
    await world.links.finish()


async def test_finish_is_bounded(make_world: Make, nursery: trio.Nursery, autojump_clock: object) -> None:
    """A hub that has fallen silent is left after two times `respond_within_s` and the closing at the latest."""
    world = make_world("a", "b")
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    for hub in world.hubs:
        hub.codes.clear()
    start_s = trio.current_time()
    await world.links.finish()
    assert trio.current_time() - start_s == pytest.approx(5)


@pytest.mark.parametrize("trouble", ["refuse", "hang"])
async def test_finish_ends_dialling(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object, trouble: str
) -> None:
    """In the middle of an attempt and in the pause between two."""
    world = make_world("a")
    getattr(world, trouble).add("a")
    for wait_s in (0.0, 1.0, 7.77):
        world = make_world("a")
        getattr(world, trouble).add("a")
        nursery.start_soon(world.links.run)
        await trio.sleep(wait_s)
        await wait_all_tasks_blocked()
        start_s = trio.current_time()
        await world.links.finish()
        assert trio.current_time() == start_s
        dials = len(world.dials)
        await trio.sleep(60)
        assert len(world.dials) == dials


async def test_finish_at_the_moment_of_a_connection(make_world: Make, nursery: trio.Nursery) -> None:
    """The stream that came too late is closed."""
    world = make_world("a")
    nursery.start_soon(world.links.run)
    while not world.dials:
        await trio.lowlevel.checkpoint()
    await world.links.finish()
    for hub in world.hubs:
        await hub.closed.wait()
    assert world.engine.of("transmit") == [] or world.hubs[0].requests[-1] == "882"


async def test_while_draining_only_a_submitter_dials(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """A lost link is dialled again for payments still to be submitted; one that only receives is not."""
    both, receiver = make_world("a"), make_world("a", submit=False)
    nursery.start_soon(both.links.run)
    nursery.start_soon(receiver.links.run)
    await trio.sleep(20)
    for world in (both, receiver):
        world.links.drain()
        await wait_all_tasks_blocked()
        await world.hubs[0].stream.aclose()
    await trio.sleep(60)
    assert [hub.requests for hub in both.hubs] == [["891", "881", "892"], ["881", "831"]]
    assert [hub.requests for hub in receiver.hubs] == [["891", "892"]]
    await both.links.finish()
    await receiver.links.finish()


async def test_finish_before_run(make_world: Make) -> None:
    """Nothing was dialled, nothing is; `run` ends at once."""
    world = make_world("a")
    await world.links.finish()
    await world.links.run()
    assert world.dials == []


async def test_cancelled(make_world: Make) -> None:
    """All links end at once, and are reported."""
    world = make_world("a", "b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.links.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [event[2] for event in world.engine.of("down")] == ["stopped"] * 2
    assert all(not link.open for link in world.links.links)
