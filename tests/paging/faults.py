"""Faults that somebody is to be woken for: how each is caused in a world of real processes, and what must fire."""

import os
import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import trio

from loadtest.runs.world import SITES, World, children_of, http
from tests.disks import mounts
from tests.paging.cut import Cable
from tests.paging.prometheus import LOOK_S
from tests.system.worlds import change, until

RATE_PER_S = 10.0
"""Payments that come meanwhile."""
Act = Callable[[World], Awaitable[None]]
Disk = mounts.Faulty | None


class Fault(NamedTuple):
    """One, and the alerts that must fire for it."""

    alerts: tuple[str, ...]
    cause: Act
    mend: Act
    on_disk: bool = False
    """The journal lies on a disk that fails on order (`DISKS`)."""
    by_cable: tuple[str, ...] = ()
    """Sites that the gateway reaches by a cable that can be cut (`CABLES`)."""


async def _kill(it: World) -> None:
    await it.kill_gateway()


async def _start(it: World) -> None:
    await it.start_gateway()


async def _close_one(it: World) -> None:
    await it.hub("close", site=SITES[0])


async def _close_all(it: World) -> None:
    for site in SITES:
        await it.hub("close", site=site)


async def _close_on_answers(it: World) -> None:
    """Payments are with the processor, and their links go before it has answered."""
    await it.processor_mode("slow:1")
    await until(lambda: _in_the_air(it))
    await _close_all(it)


async def _in_the_air(it: World) -> bool:
    return bool((await it.hub("statistics"))["outstanding"] > RATE_PER_S / 2)


async def _open_and_answer(it: World) -> None:
    await it.processor_mode("fast")
    await _open(it)


async def _open(it: World) -> None:
    for site in SITES:
        await it.hub("open", site=site)
    await it.signed_on()


async def _stop_processor(it: World) -> None:
    assert it.processor is not None
    await it.processor.end(signal.SIGKILL)


async def _start_processor(it: World) -> None:
    await it.start_processor()

    async def well() -> bool:
        return 'fps_part_well{part="processor"} 1.0' in await it.metrics()

    await until(well)


async def _never(it: World) -> None:
    await switch(it, "never")
    await _stop_processor(it)


async def _timer(it: World) -> None:
    await switch(it, "timer")
    await _start_processor(it)


async def switch(it: World, mode: str) -> None:
    """Set stand-in's mode, as an operator does."""
    status, said = await http(it.ops_port, "POST", "/stand-in", b'{"mode": "%b"}' % mode.encode())
    assert status == 200, said


async def _spoil_tokens(it: World) -> None:
    assert it.gateway is not None
    for pin in _pins(it):
        pin.with_suffix(".kept").write_text(pin.read_text())
        pin.write_text("000000")
    for worker in children_of(it.gateway.process.pid):
        os.kill(worker, signal.SIGKILL)


async def _mend_tokens(it: World) -> None:
    for pin in _pins(it):
        pin.write_text(pin.with_suffix(".kept").read_text())
    await it.signed_on()


def _pins(it: World) -> list[Path]:
    return sorted((it.directory / "hsm" / "pins").glob("*.pin"))


DISKS: dict[Path, mounts.Faulty] = {}
"""By a world's directory: the disk under its journal, where that is one that fails on order."""


async def _hang(it: World) -> None:
    DISKS[it.directory]("hang", kind="sync")


async def _heal(it: World) -> None:
    DISKS[it.directory]("heal")
    await it.signed_on()


CABLES: dict[Path, list[Cable]] = {}
"""By a world's directory: what leads to those sites."""


async def _cut(it: World) -> None:
    for cable in CABLES[it.directory]:
        await cable.cut()


async def _join(it: World) -> None:
    for cable in CABLES[it.directory]:
        await cable.mend()
    await it.signed_on()


FAULTS = {
    "gateway killed": Fault(("GatewayAway",), _kill, _start),
    "one link down": Fault(("LinkDown",), _close_one, _open),
    "all links down": Fault(("BothLinksDown", "GatewayNotReady"), _close_all, _open),
    "one link cut silently": Fault(("LinkDown",), _cut, _join, by_cable=SITES[:1]),
    "all links cut silently": Fault(("BothLinksDown",), _cut, _join, by_cable=SITES),
    "links gone before replies": Fault(("Undelivered",), _close_on_answers, _open_and_answer),
    "processor away": Fault(("ProcessorAway", "StandIn"), _stop_processor, _start_processor),
    "away, stand-in never": Fault(("ProcessorAway", "RefusedInOurName"), _never, _timer),
    "no token left": Fault(("NoTokenLeft", "GatewayNotReady"), _spoil_tokens, _mend_tokens),
    "journal's disk hangs": Fault(("JournalUnready", "GatewayNotReady"), _hang, _heal, on_disk=True),
}


def disk_for(fault: Fault) -> AbstractContextManager[Disk]:
    """What the world's journal is to lie on."""
    return mounts.faulty() if fault.on_disk else nullcontext()


async def begin(it: World, fault: Fault, disk: Disk, nursery: trio.Nursery) -> None:
    """Start a world, its journal on that disk, its cables in this nursery."""
    await it.start(gateway=False)
    for site in fault.by_cable:
        where = rf'(name = "{site}"\nhost = "127.0.0.1"\nport = )(\d+)'
        found = re.search(where, it.configuration.read_text(encoding="utf-8"))
        assert found is not None
        cable = Cable(int(found.group(2)))
        CABLES.setdefault(it.directory, []).append(cable)
        change(it, where, rf"\g<1>{await nursery.start(cable.run)}")
    if disk is not None:
        journal = disk.path / "sip" / "journal"
        change(it, r'dir = "[^"]*"', f'dir = "{journal}"')
        it.the_gateway.journal = journal
        DISKS[it.directory] = disk
    await it.start_gateway()


async def fires(
    firing: Callable[[], Awaitable[set[str]]], alerts: tuple[str, ...], within_s: float
) -> dict[str, float]:
    """Wait until all of these fire; how many seconds each took. Inf: it did not within the time."""
    began_s = trio.current_time()
    took_s = dict.fromkeys(alerts, float("inf"))
    with trio.move_on_after(within_s):
        while float("inf") in took_s.values():
            for alert in await firing():
                if took_s.get(alert) == float("inf"):
                    took_s[alert] = trio.current_time() - began_s
            await trio.sleep(LOOK_S)
    return took_s
