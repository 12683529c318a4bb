"""The links to all sites: a site that is away disturbs no other, and one that drops us is not hammered."""

import itertools
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from gateway import metrics
from gateway.clock import system_clock
from gateway.hub.dial import SILENT_S
from gateway.hub.pool import SETTLED_S
from gateway.hub.rules import Direction, SignOnState
from tests.conftest import Logged
from tests.hub.conftest import Make


def pauses(world: Any, site: str) -> list[float]:
    """Seconds between the dials of a site."""
    times = [time_s for name, time_s in world.dials if name == site]
    return [b - a for a, b in itertools.pairwise(times)]


async def test_a_link_to_each_site(make_world: Make, nursery: trio.Nursery) -> None:
    """Dialled at once, signed on in both directions, each with an id of its own; DE11 is shared."""
    world = make_world("a", "b")
    assert world.links.ready() == "no link to the hub: a (not connected yet), b (not connected yet)"
    assert world.links.trouble() == "no link to a (not connected yet); no link to b (not connected yet)"
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    assert [link.site for link in world.links.links] == ["a", "b"]
    assert {link.id for link in world.links.links} == {1, 2}
    assert len(world.links.signed_on(Direction.RECEIVE)) == 2
    assert len(world.links.signed_on(Direction.SUBMIT)) == 2
    assert world.links.ready() == world.links.trouble() == ""
    ids = [message.message_id for hub in world.hubs for message in hub.messages]
    assert sorted(ids) == ["000001", "000002", "000003", "000004"]
    assert world.links.message_ids.take() == "000005"


async def test_a_site_that_is_away_disturbs_no_other(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """One refuses, one hangs, one serves: for four hours."""
    world = make_world("away", "hangs", "serves")
    world.refuse.add("away")
    world.hang.add("hangs")
    nursery.start_soon(world.links.run)
    await trio.sleep(14400)
    assert [link.site for link in world.links.links] == ["serves"]
    assert world.links.ready() == "", "one is enough"
    away_why, hangs_why = "ConnectionRefusedError: Connection refused", "no connection within 5 s"
    assert world.links.trouble() == f"no link to away ({away_why}); no link to hangs ({hangs_why})"
    away, hangs, serves = world.links.statistics()
    assert away.last_end == "ConnectionRefusedError: Connection refused"
    assert hangs.last_end == "no connection within 5 s"
    assert (serves.attempts, serves.connects, serves.last_end) == (0, 1, "")
    # full jitter: half of the limit on average, and never over it
    assert 14400 / 15 < len(pauses(world, "away")) < 14400 / 15 * 3
    assert max(pauses(world, "away")) <= 15
    assert max(pauses(world, "hangs")) <= 20


async def test_a_direction_that_we_do_not_want_has_no_series(make_world: Make, nursery: trio.Nursery) -> None:
    """Its 0 would be an alert for ever: LinkNotSignedOn."""
    world = make_world("receiver", submit=False)
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    shown = {
        way: metrics.REGISTRY.get_sample_value("fps_link_signed_on", {"site": "receiver", "direction": way})
        for way in ("receive", "submit")
    }
    assert shown == {"receive": 1.0, "submit": None}
    assert world.links.ready() == world.links.trouble() == ""


async def test_the_pause_doubles_up_to_its_limit(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Uniform out of [0, limit], with limits of 0.2, 0.4, … 15 s."""
    world = make_world("a")
    world.refuse.add("a")
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    world.links._random.uniform = uniform
    nursery.start_soon(world.links.run)
    await trio.sleep(100)
    assert [high for _, high in drawn[:9]] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15, 15])
    assert {low for low, _ in drawn} == {0}
    assert pauses(world, "a")[:9] == pytest.approx([high for _, high in drawn[:9]])


async def test_a_hub_that_accepts_and_drops_is_not_hammered(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """A connection alone is no success."""
    world = make_world("a")

    def drop(_site: str, hub: Any) -> None:
        hub.stream.send_stream.close()
        hub.stream.receive_stream.close()

    world.prepare = drop
    nursery.start_soon(world.links.run)
    await trio.sleep(3600)
    assert len(world.dials) < 3600 / 7.5 * 1.3
    assert world.links.statistics()[0].attempts == len(world.dials)


async def test_each_attempt_that_comes_to_nothing_is_one_line_that_names_the_link(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object, logged: Logged
) -> None:
    """A hub that accepts and hangs up, and one that does not listen: with the reason, and when there is another."""
    world = make_world("a", "b")
    world.refuse.add("b")

    def drop(_site: str, hub: Any) -> None:
        hub.stream.send_stream.close()
        hub.stream.receive_stream.close()

    world.prepare = drop
    nursery.start_soon(world.links.run)
    await trio.sleep(600)
    for link, event in (("a", "connection came to nothing: no sign-on was answered"), ("b", "cannot connect")):
        lines = [line for line in logged() if line.get("link") == link]
        assert {line["event"] for line in lines} == {event}
        assert len(lines) == len([dial for dial in world.dials if dial[0] == link])
        assert all(line["level"] == "warning" and line["error"] and line["pause_s"] >= 0 for line in lines)


async def test_a_link_that_was_good_is_said_to_be_up_and_down(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object, logged: Logged
) -> None:
    """Up is one that a hub has answered on."""
    world = make_world("a")
    nursery.start_soon(world.links.run)
    await trio.sleep(1)
    await world.hubs[0].stream.aclose()
    await wait_all_tasks_blocked()
    events = [line["event"] for line in logged() if line.get("link") == "a"]
    assert events == ["link up", "signed on", "signed on", "signed off", "signed off", "link down", "dialling again"]


async def test_a_hub_that_refuses_every_sign_on_and_drops_is_not_hammered(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Nor is a connection that lives long without being signed on."""
    world = make_world("a")
    world.prepare = lambda _site, hub: hub.codes.update({"891": "9909"})
    nursery.start_soon(world.links.run)
    for count in range(5):
        await trio.sleep(40)
        assert world.links.statistics()[0].attempts == count
        assert "no link is signed on to receive" in world.links.ready()
        assert world.links.trouble() == "a is not signed on to receive"
        await world.hubs[-1].stream.aclose()
        await trio.sleep(20)


async def test_a_link_that_did_well_is_dialled_again_soon(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Signed on for `SETTLED_S`: its end is an accident."""
    world = make_world("a")
    nursery.start_soon(world.links.run)
    for _ in range(20):
        await trio.sleep(SETTLED_S + 1)
        await world.hubs[-1].stream.aclose()
        await wait_all_tasks_blocked()
        assert world.links.links == []
        assert "closed by the hub" in world.links.ready()
    assert len(world.hubs) == 20
    assert max(pauses(world, "a")) <= SETTLED_S + 1 + 0.2


async def test_when_the_last_link_goes_the_others_are_dialled_at_once(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """They were away for long and are back, and would have found that out at the end of their pauses."""
    world = make_world("a", "b", "c")
    world.refuse |= {"a", "b"}
    world.links._random.uniform = lambda _low, high: high
    nursery.start_soon(world.links.run)
    await trio.sleep(120)
    world.refuse.clear()
    await trio.sleep(1)
    assert [link.site for link in world.links.links] == ["c"]
    world.refuse.add("c")
    await world.hubs[-1].stream.aclose()
    await wait_all_tasks_blocked()
    assert {link.site for link in world.links.links} == {"a", "b"}
    assert world.links.ready() == ""


async def test_a_hub_that_is_away_everywhere_is_dialled_once_more_and_no_oftener(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """The pauses go on growing from where they were."""
    world = make_world("a", "b")
    world.refuse.add("a")
    world.links._random.uniform = lambda _low, high: high
    nursery.start_soon(world.links.run)
    await trio.sleep(120)
    world.refuse.add("b")
    before = len(pauses(world, "a"))
    await world.hubs[-1].stream.aclose()
    await trio.sleep(151)
    assert len(pauses(world, "a")) - before <= 11
    assert pauses(world, "a")[-1] == pytest.approx(15)


async def test_a_link_that_never_did_well_is_no_reason_to_dial_the_others(
    make_world: Make, nursery: trio.Nursery, autojump_clock: object
) -> None:
    """A site that accepts and drops has served nothing."""
    world = make_world("a", "b")
    world.refuse.add("a")
    world.links._random.uniform = lambda _low, high: high
    world.prepare = lambda _site, hub: hub.stream.send_stream.close()
    nursery.start_soon(world.links.run)
    await trio.sleep(3600)
    assert world.links.statistics()[1].connects > 100
    assert min(pauses(world, "a")[10:]) == pytest.approx(15)


async def test_what_was_queued_comes_back_before_the_link_is_gone(make_world: Make, nursery: trio.Nursery) -> None:
    """And a new link is another one."""
    world = make_world("a")
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    link = world.links.links[0]
    assert link.send(b"reply", "payment 1")
    await world.hubs[0].stream.aclose()
    await world.engine.until("down")
    assert world.engine.of("unsent") == [("unsent", link, ["payment 1"], True)]
    assert world.links.links == []


async def test_a_usm_group_signs_on_for_nothing_and_is_ready(make_world: Make, nursery: trio.Nursery) -> None:
    """A link that is up is all there is to want."""
    world = make_world("a", receive=False, submit=False)
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    assert world.links.ready() == ""
    assert world.hubs[0].requests == []


async def test_metrics_follow_the_links(make_world: Make, nursery: trio.Nursery, message: Make) -> None:
    """The series of a site exist before its first connection, and are right."""

    def read(name: str, **labels: str) -> float | None:
        return metrics.REGISTRY.get_sample_value(name, {"site": "metered", **labels})

    world = make_world("metered")
    assert read("fps_link_up") == 0
    assert read("fps_link_signed_on", direction="receive") == 0
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    assert read("fps_link_up") == 1
    assert read("fps_link_signed_on", direction="receive") == 1
    assert read("fps_link_dials_total", outcome="connected") == 1
    assert read("fps_link_frames_in_total") == read("fps_link_frames_out_total") == 2
    await world.hubs[0].say(message("9814", "831", "500001", "0000"))
    await wait_all_tasks_blocked()
    assert read("fps_link_reports_total", report="response unplaced") == 1
    await world.hubs[0].stream.aclose()
    await wait_all_tasks_blocked()
    assert read("fps_link_up") == 0
    assert read("fps_link_signed_on", direction="receive") == 0


async def test_a_link_is_not_up_while_nothing_is_heard_of_its_hubs_machine(
    make_world: Make, nursery: trio.Nursery
) -> None:
    """It carries on, is not given up, and is up again with the next sign of life; the other one is not in doubt."""

    def up(name: str) -> float | None:
        return metrics.REGISTRY.get_sample_value("fps_link_up", {"site": name})

    world = make_world("quiet", "loud")
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    for silent_s, is_up in ((SILENT_S, 1), (SILENT_S + 0.1, 0), (0.2, 1)):
        world.silent_s["quiet"] = silent_s
        assert (up("quiet"), up("loud")) == (is_up, 1)
        assert ("quiet is silent: " in world.links.trouble()) is (not is_up), world.links.trouble()
        assert world.links.ready() == "", "payments may come by the other one, and by this one if it was only a pause"
        assert len(world.links.links) == 2


async def test_statistics_are_json_objects(make_world: Make, nursery: trio.Nursery) -> None:
    """For `/statistics`."""
    world = make_world("a")
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    (said,) = msgspec.json.decode(msgspec.json.encode(world.links.statistics()))
    assert (said["site"], said["connects"], said["link"]["receive"]) == ("a", 1, "on")


async def test_log_lines_hold_only_known_fields(make_world: Make, nursery: trio.Nursery, message: Make) -> None:
    """Every report passes the strict log of the tests."""
    world = make_world("a")
    nursery.start_soon(world.links.run)
    await wait_all_tasks_blocked()
    hub = world.hubs[0]
    for mti, function_code, code in (
        ("9804", "811", ""), ("9804", "999", ""), ("9804", "892", ""), ("9814", "891", "0000"), ("9624", "650", ""),
        ("9824", "971", ""),
    ):  # fmt: skip
        await hub.say(message(mti, function_code, "500001", code))
    await wait_all_tasks_blocked()
    link = world.links.links[0]
    link.manage(message("9804", "831", "", fault=11), system_clock())
    assert link.open
    assert link.session.state(Direction.RECEIVE) is SignOnState.REFUSED
