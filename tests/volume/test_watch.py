"""The volume is made sure of before anything is opened, then asked about; each change is said once."""

import os
from collections.abc import Callable

import pytest
import trio
import trio.testing

from gateway import metrics
from gateway.config import Volume
from gateway.errors import Refusal
from gateway.volume.watch import EVERY_S, WITHIN_S, VolumeWatch, begin
from tests.conftest import Logged
from tests.fakes.volume import NUMBER, FakeDrbd, well, without

SETTINGS = Volume("fps-sip")
DIR = "/var/lib/fps-gateway/sip/journal"


@pytest.fixture
def drbd() -> FakeDrbd:
    return FakeDrbd()


def metric(name: str) -> list[str]:
    text, _ = metrics.exposition(openmetrics=False)
    return sorted(line for line in text.decode().splitlines() if line.startswith(name))


# --- at the start


async def test_a_gateway_starts_where_its_journal_lies_on_the_volume(drbd: FakeDrbd) -> None:
    watch = await begin(SETTINGS, DIR, drbd)
    assert watch.verdict.state == "ok"
    assert watch.unready() == ""


async def test_it_refuses_where_the_volume_is_not_up(drbd: FakeDrbd) -> None:
    drbd.missing = True
    said = "/dev/drbd/by-res/fps-sip/0: FileNotFoundError: .*: the resource fps-sip is not up on this server"
    with pytest.raises(Refusal, match=said):
        await begin(SETTINGS, DIR, drbd)


async def test_it_refuses_a_device_that_is_none_of_drbds(drbd: FakeDrbd) -> None:
    drbd.number = drbd.below = os.makedev(8, 11)
    with pytest.raises(Refusal, match="/dev/sdb is the device 8:11: none of DRBD's"):
        await begin(Volume("fps-sip", device="/dev/sdb"), DIR, drbd)


async def test_it_refuses_where_the_volume_is_not_mounted(drbd: FakeDrbd) -> None:
    """A new, empty journal in the mount point would have forgotten every promise."""
    drbd.below = os.makedev(8, 1)
    with pytest.raises(Refusal, match=r"sip/journal lies on the device 8:1, .* is 147:11: the volume is not mounted"):
        await begin(SETTINGS, DIR, drbd)
    assert drbd.asked == 0


async def test_it_refuses_where_nobody_can_say_what_the_journal_lies_on(drbd: FakeDrbd) -> None:
    """A file system whose volume fails all I/O, or a directory that is not for us: no bug of ours."""
    drbd.unreadable = True
    with pytest.raises(Refusal, match=r"^node.journal.dir: /.*/sip/journal: OSError: Input/output error: nobody can"):
        await begin(SETTINGS, DIR, drbd)
    assert drbd.asked == 0


async def test_it_refuses_where_another_volume_is_mounted(drbd: FakeDrbd) -> None:
    drbd.below = os.makedev(147, 12)
    with pytest.raises(Refusal, match="lies on the device 147:12"):
        await begin(SETTINGS, DIR, drbd)


async def test_it_refuses_where_the_volume_is_not_primary(drbd: FakeDrbd) -> None:
    drbd.says = well(role="Secondary")
    with pytest.raises(Refusal, match="fps-sip is Secondary on this server, not Primary"):
        await begin(SETTINGS, DIR, drbd)


@pytest.mark.parametrize("says", ["drbdsetup is not there", well(quorum=False), without("server-2", "server-3")])
async def test_what_else_is_wrong_keeps_nobody_from_starting(drbd: FakeDrbd, says: object) -> None:
    """What the journal holds must be told and answered for; whether new payments may come is another question."""
    drbd.says = says  # type: ignore[assignment]
    watch = await begin(SETTINGS, DIR, drbd)
    assert watch.verdict.state in {"unknown", "unready"}


# --- later


async def test_it_becomes_unready_and_ready_again_with_the_copies(drbd: FakeDrbd, logged: Logged) -> None:
    watch = await begin(SETTINGS, DIR, drbd)
    drbd.says = without("server-2")
    await watch.look()
    assert (watch.verdict.state, watch.unready()) == ("degraded", "")
    drbd.says = without("server-2", "server-3")
    await watch.look()
    assert watch.unready() == "1 up-to-date copy of the volume, and 2 is the least"
    drbd.says = well()
    await watch.look()
    assert watch.unready() == ""
    assert [(line["level"], line["event"]) for line in logged()] == [
        ("info", "volume ok"), ("warning", "volume degraded"), ("error", "volume unready"), ("info", "volume ok"),
    ]  # fmt: skip


async def test_a_change_is_said_once(drbd: FakeDrbd, logged: Logged) -> None:
    watch = await begin(SETTINGS, DIR, drbd)
    drbd.says = without("server-2", connection="StandAlone")
    for _ in range(3):
        await watch.look()
    assert len(logged("volume degraded")) == 1
    (line,) = logged("volume link StandAlone: drbdadm adjust")
    assert (line["level"], line["host"], line["detail"]) == ("warning", "server-2", "fps-sip")
    drbd.says = without("server-2", "server-3", connection="StandAlone")
    await watch.look()
    assert [line["host"] for line in logged("volume link StandAlone: drbdadm adjust")] == ["server-2", "server-3"]


def _hang(drbd: FakeDrbd) -> None:
    drbd.hangs = True


def _break(drbd: FakeDrbd) -> None:
    drbd.says = "drbdsetup is not there"


@pytest.mark.parametrize(
    ("trouble", "reason"), [(_hang, f"no answer within {WITHIN_S:g} s"), (_break, "drbdsetup is not there")]
)
@pytest.mark.parametrize("known", [well(), without("server-2", "server-3")])
async def test_when_drbd_cannot_be_asked_what_was_known_last_holds(
    autojump_clock: trio.testing.MockClock, drbd: FakeDrbd, logged: Logged, known: object,
    trouble: Callable[[FakeDrbd], None], reason: str,
) -> None:  # fmt: skip
    """A status program that is broken stops no site whose disks are well, and makes none ready whose disks were not."""
    drbd.says = known  # type: ignore[assignment]
    watch = await begin(SETTINGS, DIR, drbd)
    before = watch.unready()
    trouble(drbd)
    for _ in range(3):
        await watch.look()
    assert watch.verdict == ("unknown", reason)
    assert watch.unready() == before
    (line,) = logged("the volume's state cannot be read")
    assert (line["level"], line["reason"]) == ("warning", reason)


async def test_it_asks_every_few_seconds_and_shows_what_it_knows(
    autojump_clock: trio.testing.MockClock, drbd: FakeDrbd
) -> None:
    watch = await begin(SETTINGS, DIR, drbd)
    assert metric("fps_volume") == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(10 * EVERY_S + 0.1)
        assert drbd.asked == 11
        drbd.says = without("server-3", connection="StandAlone")._replace(quorum=False)
        await trio.sleep(EVERY_S)
        assert metric("fps_volume") == [
            "fps_volume_copies 2.0",
            "fps_volume_copies_wanted 3.0",
            'fps_volume_out_of_sync_bytes{peer="server-2"} 0.0',
            'fps_volume_out_of_sync_bytes{peer="server-3"} 0.0',
            "fps_volume_quorum 0.0",
            'fps_volume_standalone{peer="server-2"} 0.0',
            'fps_volume_standalone{peer="server-3"} 1.0',
            'fps_volume_state{state="degraded"} 0.0',
            'fps_volume_state{state="ok"} 0.0',
            'fps_volume_state{state="unknown"} 0.0',
            'fps_volume_state{state="unready"} 1.0',
        ]
        nursery.cancel_scope.cancel()
    assert metric("fps_volume") == []


async def test_what_was_never_known_is_not_shown(drbd: FakeDrbd) -> None:
    """A zero for an unknown number would look like the worst case."""
    drbd.says = "drbdsetup is not there"
    watch = VolumeWatch(SETTINGS, os.minor(NUMBER), drbd)
    await watch.look()
    with metrics.shown(metrics.VolumeStates(("ok", "unknown"), watch._shown)):
        assert metric("fps_volume") == [
            "fps_volume_copies_wanted 3.0",
            'fps_volume_state{state="ok"} 0.0',
            'fps_volume_state{state="unknown"} 1.0',
        ]
    assert watch.health() == {
        "state": "unknown", "reason": "drbdsetup is not there", "resource": "fps-sip", "copies_wanted": 3,
    }  # fmt: skip


async def test_ready_says_what_is_known_of_each_server(drbd: FakeDrbd) -> None:
    drbd.says = without("server-3")
    watch = await begin(SETTINGS, DIR, drbd)
    assert watch.health() == {
        "state": "degraded", "reason": "2 up-to-date copies of the volume of 3", "resource": "fps-sip",
        "copies_wanted": 3, "copies": 2, "quorum": True, "role": "Primary",
        "peers": {"server-2": "Connected, UpToDate", "server-3": "Connecting, DUnknown"},
    }  # fmt: skip
