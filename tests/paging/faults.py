"""Faults that somebody is to be woken for: how each is caused in a world of real processes, and what must fire."""

import os
import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import trio
from msgspec.structs import replace

from loadtest.parts.processes import order
from loadtest.runs.world import SITES, Plan, World, children_of
from tests.disks import mounts
from tests.paging.cut import Cable
from tests.paging.prometheus import LOOK_S
from tests.system.worlds import change, load, until

RATE_PER_S = 10.0
"""Payments that come meanwhile."""
MANY_PER_S = 300.0
"""Where a fault needs more of them."""
PLAN = Plan(segment_bytes=1 << 20)
"""As production is set, but for segments that fit on a small disk that fails on order."""
SUBMITS = replace(PLAN, outbound=True, answer_within_s=1.0, repeats_max=1)
"""Payments leave, too; one that nobody answers is unknown after seconds, and not after minutes as in production."""
FOREVER_S = 100_000.0
"""Longer than all repetitions take."""
SCRAPED_WITHIN_S = 6.0
"""More than the interval of our configuration."""
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
    plan: Plan = PLAN


async def _kill(it: World) -> None:
    await it.kill_gateway()


async def _start(it: World) -> None:
    await it.start_gateway()


async def _start_again(it: World) -> None:
    """The third start is the fault; those before are seen by a scrape each."""
    for _ in range(2):
        await _kill(it)
        await _start(it)
        await trio.sleep(SCRAPED_WITHIN_S)
    await _kill(it)
    await it.the_gateway.start()


async def _signed_on(it: World) -> None:
    await it.signed_on(it.gateway)


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


async def _answered(it: World) -> bool:
    return not await _in_the_air(it)


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
    assert await order(it.socket, "stand-in", {"mode": mode}) == 200


async def _spoil_tokens(it: World) -> None:
    await _spoil(it, _pins(it))


async def _spoil_ours(it: World) -> None:
    """The first token is the one of this site."""
    await _spoil(it, _pins(it)[:1])


async def _spoil(it: World, pins: list[Path]) -> None:
    """No worker that is started from now on opens these tokens, and all are."""
    assert it.gateway is not None
    for pin in pins:
        pin.with_suffix(".kept").write_text(pin.read_text())
        pin.write_text("000000")
    for worker in children_of(it.gateway.process.pid):
        os.kill(worker, signal.SIGKILL)


async def _mend_tokens(it: World) -> None:
    for kept in _pins(it, ".kept"):
        kept.rename(kept.with_suffix(".pin"))
    await until(lambda: _all(it, "fps_signer_token_up", "1.0"))
    await it.signed_on()


def _pins(it: World, suffix: str = ".pin") -> list[Path]:
    return sorted((it.directory / "hsm" / "pins").glob(f"*{suffix}"))


async def _spoil_tokens_under_load(it: World) -> None:
    await load(it, MANY_PER_S, FOREVER_S)
    await until(lambda: _in_the_air(it))
    await _spoil_tokens(it)


async def _mend_tokens_and_load(it: World) -> None:
    await load(it, RATE_PER_S, FOREVER_S)
    await _mend_tokens(it)


# --- what only the hub, or the processor, does


async def _count(it: World, step: str) -> int:
    return int((await it.statistics())["engine"]["counts"].get(step, 0))


async def _more(it: World, step: str, before: int) -> None:
    """Wait until the gateway has taken this step once more: where that is the fault."""

    async def taken() -> bool:
        return await _count(it, step) > before

    await until(taken)


async def _ignore_sign_on(it: World) -> None:
    for site in SITES:
        await it.hub("sicken", site=site, how="silent")
        await it.hub("drop", site=site)


async def _heed_sign_on(it: World) -> None:
    for site in SITES:
        await it.hub("sicken", site=site, how="well")
        await it.hub("drop", site=site)
    # the gateway is asked: the hub may have it signed on, and never have said so
    await until(lambda: _all(it, "fps_link_signed_on", "1.0"))


async def _all(it: World, metric: str, value: str) -> bool:
    """Whether there are samples of this metric, and each has this value."""
    found = [line for line in (await it.metrics()).splitlines() if re.match(rf"{metric}[{{ ]", line)]
    return bool(found) and all(line.endswith(f" {value}") for line in found)


async def _swallow(it: World) -> None:
    """The fault is the first payment that is given up: it was asked for in vain."""
    before = await _count(it, "outbound_unknown")
    await it.hub("inject", what="swallow", count=int(FOREVER_S))
    await it.submit(RATE_PER_S, FOREVER_S)
    await _more(it, "outbound_unknown", before)


async def _answer(it: World) -> None:
    """What was unknown is submitted again, and settled."""
    await it.bank.submissions(do="stop")
    await it.hub("inject", what="none")

    async def settled() -> bool:
        return not (await it.submitted())["open"]

    await until(settled)


async def _accept_late(it: World) -> None:
    """Refused in the processor's stead after 8 s, by the defaults; the reply may leave until 9 s. The fault is the
    first answer after that.
    """
    before = await _count(it, "late_accept")
    await switch(it, "never")
    await it.processor_mode("slow:8.5")
    await _more(it, "late_accept", before)


async def _accept(it: World) -> None:
    await it.processor_mode("fast")
    await switch(it, "timer")

    async def over() -> bool:
        return await _answered(it) and await _count(it, "late_accept") == await _count(it, "declined")

    await until(over)


async def _misunderstand(it: World) -> None:
    await it.processor_mode("status:404")


async def _understand(it: World) -> None:
    await it.processor_mode("fast")
    await until(lambda: _answered(it))


async def _forge(it: World) -> None:
    assert (await it.hub("mischief", what="wrong-mac"))["done"]


async def _nothing(it: World) -> None:
    """It is over by itself."""


async def _suspend(it: World) -> None:
    await it.hub("usm", function="971", fields={"40": "01"})


async def _lift(it: World) -> None:
    await it.hub("usm", function="971", fields={"40": "00"})
    await until(lambda: _all(it, "fps_scheme_suspended", "0.0"))


async def _differ(it: World) -> None:
    """The other site is started anew, with another pair file."""
    other = it.gateways[1].configuration
    right = other.read_text(encoding="utf-8")
    other.with_suffix(".kept").write_text(right, encoding="utf-8")
    other.write_text(right.replace("[pair.keys]", "[pair.stand_in]\namount_max = 100\n\n[pair.keys]"), encoding="utf-8")
    await _start_other(it)


async def _agree(it: World) -> None:
    kept = it.gateways[1].configuration.with_suffix(".kept")
    kept.rename(kept.with_suffix(".toml"))
    await _start_other(it)
    await until(lambda: _all(it, "fps_sibling_differs", "0.0"))


async def _start_other(it: World) -> None:
    assert await it.gateways[1].end() == 0
    await it.gateways[1].start()


DISKS: dict[Path, mounts.Faulty] = {}
"""By a world's directory: the disk under its journal, where that is one that fails on order."""


async def _hang(it: World) -> None:
    DISKS[it.directory]("hang", kind="sync")


async def _fill(it: World) -> None:
    """The fault is the first segment for which there is no room; many payments need it sooner."""
    disk = DISKS[it.directory]
    await trio.to_thread.run_sync(disk.fill)
    before = disk("state")["counts"]["allocate"]
    await load(it, MANY_PER_S, FOREVER_S)

    async def refused() -> bool:
        return bool(disk("state")["counts"]["allocate"] > before)

    await until(refused)
    await load(it, RATE_PER_S, FOREVER_S)


async def _empty(it: World) -> None:
    DISKS[it.directory].empty()
    await it.signed_on()


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
    "journal's disk full": Fault(("JournalUnready", "GatewayNotReady"), _fill, _empty, on_disk=True),
    "sign-on unanswered": Fault(("NoLinkSignedOn", "GatewayNotReady"), _ignore_sign_on, _heed_sign_on),
    "no answer to what left": Fault(("OutboundUnknown",), _swallow, _answer, plan=SUBMITS),
    "started thrice": Fault(("GatewayStartsAgainAndAgain",), _start_again, _signed_on),
    "no token left, many payments": Fault(("NotTakenIn",), _spoil_tokens_under_load, _mend_tokens_and_load),
    "wrong MAC": Fault(("WrongMacs",), _forge, _nothing),
    "processor says 404": Fault(("ProcessorRefusesQuestions", "StandIn"), _misunderstand, _understand),
    "accepted after refusal": Fault(("LateAccept",), _accept_late, _accept),
    "scheme suspended": Fault(("SchemeSuspended",), _suspend, _lift),
    "own token away": Fault(
        ("RemoteTokensOnly", "OneTokenLeft"), _spoil_ours, _mend_tokens, plan=replace(PLAN, remote_tokens=1)
    ),
    "sites differ": Fault(("SitesDiffer",), _differ, _agree, plan=replace(PLAN, data_centres=2)),
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
    for other in it.gateways[1:]:
        change(it, "look_every_s = 0.5", "look_every_s = 10.0")  # as by default
        await other.start()
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
