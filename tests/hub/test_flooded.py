"""Links that bring what proves nothing: which are closed, which stay and are read slowly, and what comes after."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from gateway import config, metrics
from gateway.hub.budget import DEBT_MAX_S, UNJUDGED_FRAMES_MAX, UNJUDGED_FRAMES_MIN
from gateway.hub.link import LAST_WORDS_S
from gateway.wire.frame import frame
from tests.conftest import Logged

Make = Callable[..., Any]

SMALL = config.Unproved(frames_max=10, frames_per_s=1.0, pause_s=4.0, pause_max_s=60.0)
WIRE = config.Wire()
SPENT = "more came that proves nothing than node.unproved allows"


def framed(*bodies: bytes) -> bytes:
    return b"".join(frame(WIRE, body) for body in bodies)


def bad(count: int) -> bytes:
    """Frames that prove nothing."""
    return framed(*[b"bad"] * count)


def slow(count: int) -> bytes:
    """Frames that no HSM has judged yet."""
    return framed(*[b"slow"] * count)


async def settle() -> None:
    """Until nothing happens without time passing."""
    await trio.testing.wait_all_tasks_blocked()


# --- one link


async def test_a_link_that_spends_its_budget_is_closed_after_its_last_words(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Replies that it owes still leave; arriving bytes are not even read."""
    w = wired(unproved=SMALL)
    nursery.start_soon(w.link.run)
    await w.stream.send_all(framed(b"9200 one") + bad(11))
    await settle()
    assert w.link.open
    assert not w.link.hears
    assert w.link.send(b"9210 one", "one")
    w.link.flush()
    await w.stream.send_all(framed(b"9200 two"))
    start_s = trio.current_time()
    assert (await w.engine.until("down"))[2] == SPENT
    assert trio.current_time() - start_s == pytest.approx(LAST_WORDS_S)
    assert w.engine.bodies == [b"9200 one", *[b"bad"] * 11]
    assert w.engine.of("sent")
    assert w.link.over_budget


async def test_within_its_budget_a_link_lives_for_ever(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    w = wired(unproved=SMALL)
    nursery.start_soon(w.link.run)
    for _ in range(100):
        await w.stream.send_all(bad(10))
        await trio.sleep(10)
    assert w.link.hears
    assert len(w.engine.bodies) == 1000


async def test_while_the_hubs_key_changes_a_link_may_bring_ten_times_as_much(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    w = wired(unproved=SMALL)
    w.engine.key_changes = True
    nursery.start_soon(w.link.run)
    for _ in range(2):
        await w.stream.send_all(bad(50))
        await settle()
    assert w.link.hears
    await w.stream.send_all(bad(2))
    await settle()
    assert not w.link.hears


async def test_a_link_that_is_needed_is_read_at_the_pace_of_its_budget(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """What the hub sends comes in between; a bite is what may be unjudged at once."""
    w = wired(unproved=SMALL, is_needed=lambda: True)
    nursery.start_soon(w.link.run)
    start_s = trio.current_time()
    nursery.start_soon(w.stream.send_all, bad(1000) + framed(b"9200 last"))
    await trio.sleep(500)
    assert w.link.hears
    assert len(w.engine.bodies) <= 10 + 500 + UNJUDGED_FRAMES_MIN
    while w.engine.bodies[-1] != b"9200 last":
        await trio.sleep(1)
        assert w.link.hears, "whoever does not read hears no echo"
    assert 900 < trio.current_time() - start_s < 1000


async def test_frames_that_wait_for_an_hsm_cost_nothing_and_close_nothing(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """For an hour: the reader waits for verdicts, whatever they are, and goes on; the silence is our own."""
    w = wired(unproved=SMALL, echo_after_s=30.0, echo_misses_max=2, respond_within_s=5.0, half_frame_s=10.0)
    nursery.start_soon(w.link.run)
    everything = slow(200) + framed(b"9200 last")
    nursery.start_soon(w.stream.send_all, everything[:-2])
    await trio.sleep(3600)
    assert w.link.hears
    assert len(w.engine.unjudged) == UNJUDGED_FRAMES_MIN
    while w.engine.unjudged:
        link, size = w.engine.unjudged.pop()
        link.dropped(size)
        await settle()
    await w.stream.send_all(everything[-2:])
    await settle()
    assert w.engine.bodies[-1] == b"9200 last"
    assert len(w.engine.bodies) == 201


async def test_what_is_exceeded_is_never_more_than_what_is_unjudged(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """A link that was good for long, and then brings only what proves nothing: all of it is judged late."""
    w = wired(unproved=SMALL)
    nursery.start_soon(w.link.run)
    for _ in range(100):
        await w.stream.send_all(framed(*[b"9200"] * 100))
    await settle()
    nursery.start_soon(w.stream.send_all, slow(10_000))
    await settle()
    assert len(w.engine.unjudged) == UNJUDGED_FRAMES_MAX
    for link, size in w.engine.unjudged:
        link.disproved(size, key_changes=False)
    await settle()
    assert len(w.engine.unjudged) == UNJUDGED_FRAMES_MAX, "nothing more is handed on"
    await w.engine.until("down")


async def test_what_lay_in_the_socket_while_the_reader_waited_may_have_come_then(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """A payment's time begins when it may have come. What comes later is not older than it is."""
    w = wired(unproved=SMALL)
    start_s = trio.current_time()
    nursery.start_soon(w.link.run)
    await w.stream.send_all(slow(UNJUDGED_FRAMES_MIN + 1))
    await settle()
    await w.stream.send_all(framed(b"9200 waited"))
    await trio.sleep(7)
    for link, size in w.engine.unjudged:
        link.proved(size)
    await settle()
    await trio.sleep(5)
    await w.stream.send_all(framed(b"9200 later"))
    await settle()
    assert [time_s - start_s for time_s in w.engine.read_s[-2:]] == pytest.approx([0, 12])


async def test_reading_that_waits_because_no_hsm_judges_is_said(
    wired: Make, nursery: trio.Nursery, autojump_clock: object, logged: Logged
) -> None:
    """Once for each episode, and not for a link that has proved little yet."""
    w = wired()
    nursery.start_soon(w.link.run)
    nursery.start_soon(w.stream.send_all, slow(100))
    await settle()
    assert not logged("limit reached")
    for link, size in w.engine.unjudged:
        link.proved(size)
    await settle()
    for _ in range(100):
        await w.stream.send_all(framed(*[b"9200"] * 100))
    nursery.start_soon(w.stream.send_all, slow(2 * UNJUDGED_FRAMES_MAX))
    await settle()
    assert [line["where"] for line in logged("limit reached")] == ["hub.UNJUDGED_MAX"]


async def test_bytes_that_are_no_frame_cost_one_frame(
    wired: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    counted = metrics.LINK_UNPROVED_FRAMES.labels("a")._value.get()
    w = wired()
    nursery.start_soon(w.link.run)
    await w.stream.send_all(b"\xff" * 4)
    await w.engine.until("down")
    assert metrics.LINK_UNPROVED_FRAMES.labels("a")._value.get() == counted + 1
    assert not w.link.over_budget


# --- all links


async def begun(world: Any, nursery: trio.Nursery) -> dict[str, Any]:
    """Let the links run; the latest hub of each site."""
    at: dict[str, Any] = {}
    prepare = world.prepare

    def note(site: str, hub: Any) -> None:
        at[site] = hub
        prepare(site, hub)

    world.prepare = note
    nursery.start_soon(world.links.run)
    await settle()
    return at


def dials(world: Any, site: str) -> list[float]:
    """When a site was dialled."""
    return [time_s for name, time_s in world.dials if name == site]


async def test_a_flooded_link_is_closed_and_dialled_again_after_longer_and_longer_pauses(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object, logged: Logged
) -> None:
    """The other one carries on; no payment is submitted to one that is about to be closed."""
    world = make_world("a", "b", unproved=SMALL)
    closed = metrics.LINK_OVER_BUDGET.labels("a", "closed")._value.get()
    at = await begun(world, nursery)
    good = world.links.links[1]
    for number in range(5):
        while len(dials(world, "a")) <= number:  # noqa: ASYNC110 - a dial sets no event of ours
            await trio.sleep(0.1)
        await settle()
        await at["a"].send(bad(40))
        await settle()
        assert world.links.submitters() == [good]
        await trio.sleep(LAST_WORDS_S + 0.1)
        assert world.links.links == [good]
        assert SPENT in world.links.trouble()
    pauses = [b - a - LAST_WORDS_S for a, b in itertools.pairwise(dials(world, "a"))]
    for pause_s, least_s in zip(pauses, [2, 4, 8, 16], strict=True):
        assert least_s <= pause_s < 2 * least_s + 1
    assert metrics.LINK_OVER_BUDGET.labels("a", "closed")._value.get() == closed + 5
    assert logged("link closed for a while")[0]["link"] == "a"


async def test_a_link_that_was_closed_for_its_budget_returns_and_does_well(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Signed on, given its share, and relied upon when the other one is flooded next."""
    world = make_world("a", "b", unproved=SMALL)
    at = await begun(world, nursery)
    await at["a"].send(bad(20))
    await trio.sleep(100)
    assert len(world.links.submitters()) == 2
    await at["b"].send(bad(20))
    await trio.sleep(LAST_WORDS_S + 0.1)
    assert [link.site for link in world.links.links] == ["a"]


async def test_when_every_link_spends_its_budget_all_stay_and_are_read_slowly(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object, logged: Logged
) -> None:
    """The first one was closed before that was known: it is dialled at once. For an hour, nothing is closed."""
    world = make_world("a", "b", unproved=SMALL)
    paced = metrics.LINK_OVER_BUDGET.labels("b", "paced")._value.get()
    at = await begun(world, nursery)
    await at["a"].send(bad(20))
    await trio.sleep(LAST_WORDS_S + 0.5)
    assert dials(world, "a") == dials(world, "b")
    await at["b"].send(bad(20))
    await settle()
    assert len(dials(world, "a")) == 2, "not after its pause: no other link does well"
    assert metrics.LINK_OVER_BUDGET.labels("b", "paced")._value.get() == paced + 1
    kept = logged("link kept: what it brings proves nothing, and no other link does well")
    assert [line["link"] for line in kept] == ["b"]
    for hub in at.values():
        nursery.start_soon(hub.send, bad(2000))
    await trio.sleep(1000)
    assert len(world.links.submitters()) == 2
    assert (len(dials(world, "a")), len(dials(world, "b"))) == (2, 1), world.links.statistics()
    assert len(world.engine.bodies) < 2 * (1000 + 10 + 2 * UNJUDGED_FRAMES_MIN)


async def test_a_single_link_is_never_closed_for_its_budget(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """It may be the only site that is up, or the only one that there is."""
    world = make_world("a", "b", unproved=SMALL)
    world.refuse.add("b")
    at = await begun(world, nursery)
    await at["a"].send(bad(60))
    await trio.sleep(10)
    assert [link.site for link in world.links.links] == ["a"]


async def test_a_link_on_which_the_hub_has_proved_nothing_is_nothing_to_rely_on(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """It stands, and answers no sign-on: the flooded one stays."""
    world = make_world("a", "b", unproved=SMALL)
    world.prepare = lambda site, hub: hub.codes.clear() if site == "b" else None
    at = await begun(world, nursery)
    await at["a"].send(bad(60))
    await settle()
    assert world.links.submitters()[0].site == "a"
    await trio.sleep(3)
    assert [link.site for link in world.links.submitters()] == ["a"]


async def test_when_the_good_link_goes_the_banned_one_is_dialled_at_once(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Also one that had not done well for long."""
    world = make_world("a", "b", unproved=config.Unproved(frames_max=10, frames_per_s=1.0, pause_s=200.0))
    at = await begun(world, nursery)
    await at["a"].send(bad(20))
    await trio.sleep(LAST_WORDS_S + 1)
    world.refuse.add("b")
    await trio.aclose_forcefully(at["b"].stream)
    await settle()
    assert len(dials(world, "a")) == 2
    await trio.sleep(DEBT_MAX_S)
    assert [link.site for link in world.links.submitters()] == ["a"]


async def test_drain_and_mute_end_the_pause_of_a_banned_link(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Nothing is dialled while mute, and `finish` does not wait for the pause."""
    world = make_world("a", "b", unproved=config.Unproved(frames_max=10, frames_per_s=1.0, pause_s=200.0))
    at = await begun(world, nursery)
    await at["a"].send(bad(20))
    await trio.sleep(LAST_WORDS_S + 1)
    world.links.hold(mute=True)
    await trio.sleep(5)
    assert world.links.links == []
    assert len(dials(world, "a")) == 1
    world.links.resume()
    await trio.sleep(DEBT_MAX_S)
    assert len(world.links.submitters()) == 2
    with trio.fail_after(20):
        await world.links.finish()
