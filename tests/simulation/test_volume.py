"""A site whose volume is short of copies keeps payments away, and the other one serves; nothing is lost or refused."""

import random

import msgspec
import pytest
import trio

from gateway.exitcodes import ExitCode
from gateway.payments.steps import Kind
from gateway.volume.watch import EVERY_S
from tests.fakes.volume import well, without
from tests.simulation import faults
from tests.simulation.settings import draw
from tests.simulation.world import World, simulate

CALM = msgspec.structs.replace(
    draw(3), lasts_s=120.0, rate=3.0, outbound=3.0, mean_s={"scene": 0.001}, pair={}, payment_type="10"
)
LOOK_S = EVERY_S + 1.0


def test_a_site_short_of_copies_signs_off_and_the_other_one_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Degraded serves on; one copy less does not; with the copies back it does again."""
    seen: dict[str, tuple[bool, bool, str]] = {}
    received: dict[str, list[int]] = {}

    async def scene(world: World, _luck: random.Random) -> None:
        a, b = world.nodes.values()
        assert a.gateway is not None
        for what, says in (
            ("well", well()),
            ("degraded", without("server-2")),
            ("short", without("server-2", "server-3")),
            ("well again", well()),
        ):
            with world.trouble("volume" if what == "short" else "nothing", a.name):
                a.drbd.says = says
                await trio.sleep(LOOK_S)
                before = _received(world)
                await trio.sleep(10.0)
                received[what] = [now - then for now, then in zip(_received(world), before, strict=True)]
                seen[what] = (a.serving, b.serving, a.gateway.health.ready()[1]["parts"]["volume"]["state"])
        await trio.sleep_forever()

    monkeypatch.setitem(faults.FAULTS, "scene", scene)
    outcome = simulate(CALM)
    assert outcome.failure == ""
    assert outcome.verdict.balances, outcome.verdict.invariants
    assert seen == {
        "well": (True, True, "ok"),
        "degraded": (True, True, "degraded"),
        "short": (False, True, "unready"),
        "well again": (True, True, "ok"),
    }
    for what, (at_a, at_b) in received.items():
        assert (at_a > 0, at_b > 0) == (what != "short", True), (what, at_a, at_b)


def _received(world: World) -> list[int]:
    """Payments that each site has received so far, by its disk."""
    disks = (world.oracle._disks[name].records.values() for name in world.nodes)
    return [sum(record.kind is Kind.RECEIVED for record in records) for records in disks]


def test_a_gateway_on_a_server_without_its_volume_makes_no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mount point is empty there: a new journal in it would promise things that the real one knows nothing of."""
    directories: list[list[str]] = []

    async def scene(world: World, _luck: random.Random) -> None:
        a = world.nodes["a"]
        with world.trouble("mount", a.name):
            a.drbd.below = 2049
            elsewhere, a.disk.directories = a.disk.directories, {}
            a.kill()
            await trio.sleep(30.0)
            directories.append([*a.disk.directories])
            a.disk.directories = elsewhere
            a.drbd.below = a.drbd.number
            await trio.sleep(30.0)
        ends.extend(code for _, code, _, _ in a.ended)
        await trio.sleep_forever()

    ends: list[ExitCode | None] = []
    monkeypatch.setitem(faults.FAULTS, "scene", scene)
    outcome = simulate(CALM)
    assert outcome.failure == ""
    assert outcome.verdict.balances, outcome.verdict.invariants
    assert directories == [[]]
    assert ends[0] is None
    assert {*ends[1:]} == {ExitCode.REFUSED}
