"""A world under load in which things go wrong, until everything is well again: what `kills` and `endure` share."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import trio

from gateway.machine import harmless
from loadtest.hub.control import ControlError
from loadtest.ledger.oracle import Verdict
from loadtest.runs.banks import Bank
from loadtest.runs.hands import Hands, KeptProcessor
from loadtest.runs.load import Rates
from loadtest.runs.trouble import Trouble, Whom
from loadtest.runs.world import Plan, World, WorldError, interruptible, said

STAND_IN_AFTER_S, PATIENCE_S, ANSWER_WITHIN_S = 1.0, 4.0, 5.0
"""Short, so that what outlasts them fits into a minute or two; a bank would configure more."""
SEGMENT_BYTES, REPEATS_MAX = 1 << 20, 1
"""Little, so that journals go from segment to segment while they are killed, and payments are UNKNOWN at times."""
PROCESSOR_MODE = (
    "mix:fast=60,slow:0.2=20,slow:1.5=4,refusing:1114=4,garbled=1,qualified:0081=3,status:500=4,half=2,malformed=2"
)
OVERLAP_S = 15.0
"""A gateway may be away for so long while its key changes."""
BANK_RULE = "accept*60,slow=0.3*20,1114*5,slow=3*3,silent"
"""Payments are in the air when something happens, and some are refused, late, or not answered at all."""
WELL_WITHIN_S = 40.0
"""How soon everybody must be signed on again when nothing is done to anybody any more."""
SETTLED_WITHIN_S = 150.0
"""How soon every payment must have its outcome then: a processor looks again after 45 s."""
TOLD_WITHIN_S = 90.0
LOOK_EVERY_S = 0.25


def in_directory(
    name: str, options: argparse.Namespace, main: Callable[[argparse.Namespace, Path], Awaitable[int]]
) -> int:
    """Run `main` in the directory that was asked for, or in a temporary one, and return its exit code.

    A temporary directory stays when something was wrong, or with --keep. Exit code 2: it could not be run.
    """
    directory = options.dir or Path(tempfile.mkdtemp(prefix=f"fps-{name}-"))
    code = 2
    try:
        code = trio.run(interruptible, partial(main, options, directory))
    except* (WorldError, OSError) as group:
        print(f"{name}: {harmless.line(said(group))}", file=sys.stderr)
    if code == 0 and not options.keep and options.dir is None:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"everything is kept in {directory}", flush=True)
    return code


def plan(*, sites: int, banks: int, synchronous: bool = True, **more: Any) -> Plan:
    """A world that is made for this."""
    return Plan(
        stand_in_after_s=STAND_IN_AFTER_S,
        patience_s=PATIENCE_S,
        answer_within_s=ANSWER_WITHIN_S,
        overlap_s=OVERLAP_S,
        outbound=True,
        data_centres=sites,
        banks=banks,
        synchronous=synchronous,
        **{"processor_mode": PROCESSOR_MODE, "segment_bytes": SEGMENT_BYTES, "repeats_max": REPEATS_MAX, **more},
    )


class Seen(NamedTuple):
    """What came of it."""

    verdict: Verdict
    hub: dict[str, Any]
    problems: list[str]
    """What must not happen, besides what the ledger finds."""


class Watch:
    """Looks at the hub all the time: how long nobody received, how long it took to be back."""

    def __init__(self, it: World, hands: Hands) -> None:
        self.deaf_s: dict[str, float] = {}
        """Bank → the longest time without any link that is signed on to receive, seconds."""
        self.slowest_s = 0.0
        """The longest time from a gateway's start to its sign-on at both sites."""
        self.hub: dict[str, Any] = {}
        self.hub_ahead_s = 0.0
        """The wall clock less the hub's own."""
        self._it = it
        self._hands = hands
        self._heard_s: dict[str, float] = {}
        self._signed_on: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.hub = await self._it.hub("statistics")
            self.hub_ahead_s = time.time() - self.hub["now_s"]
            self._look(trio.current_time(), self.hub["links"])
            await trio.sleep(LOOK_EVERY_S)

    def _look(self, now_s: float, links: list[dict[str, Any]]) -> None:
        receiving = {link["participant"] for link in links if link["receive"]}
        for bank in self._it.banks:
            name = bank.identity.name
            heard_s = self._heard_s.setdefault(name, now_s)
            self.deaf_s[name] = max(self.deaf_s.get(name, 0.0), now_s - heard_s)
            if name in receiving:
                self._heard_s[name] = now_s
        for kept in self._hands.gateways.values():
            fresh = kept.starts and self._signed_on.get(kept.name) != kept.began_s
            if fresh and kept.pid is not None and self._it.has_links(kept.gateway, links):
                self._signed_on[kept.name] = kept.began_s
                self.slowest_s = max(self.slowest_s, now_s - kept.began_s)


class Siege:
    """Load in both directions, troubles, and an end that is well."""

    def __init__(
        self, it: World, rates: Rates, say: Callable[[str], None], *, seed: int = 1, bank_rule: str = BANK_RULE
    ) -> None:
        """`bank_rule`: of the bank that the hub plays, as its `--bank` takes it."""
        self.it = it
        self.say = say
        self.hands = Hands(it, say, self._submit)
        self.watch = Watch(it, self.hands)
        self._rates = rates
        self._seed = seed
        self._bank_rule = bank_rule
        self._end_s = 0.0

    def whom(self, spared: Sequence[str] = ()) -> Whom:
        """To whom something may happen."""
        return Whom(
            list(self.hands.gateways), list(self.hands.processors), ("a", "b"), self.it.plan.patience_s,
            [bank.identity.name for bank in self.it.banks if len(bank.gateways) == 1], frozenset(spared),
        )  # fmt: skip

    async def run(
        self, duration_s: float, troubles: Sequence[Trouble], beside: Callable[[], Awaitable[None]] | None = None
    ) -> Seen:
        """Load for so long, with these troubles; then everything must become well, and the books are judged.

        `beside` runs as long as there is load, or trouble.
        """
        it, hands = self.it, self.hands
        await it.hub("bank", rule=self._bank_rule)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hands.keep)
            nursery.start_soon(it.hub.look_on, self.watch.run)
            async with trio.open_nursery() as during:
                if beside is not None:
                    during.start_soon(it.hub.look_on, beside)
                await self._load(duration_s)
                await hands.play(troubles)
                await trio.sleep_until(self._end_s)
                during.cancel_scope.cancel()
            await self._become_well()
            hands.let_go()
            nursery.cancel_scope.cancel()
        hub = await self._close()
        self.say("judging the books")
        return Seen(await it.verdict(), hub, hands.problems)

    async def _load(self, duration_s: float) -> None:
        it, rates = self.it, self._rates
        self._end_s = trio.current_time() + duration_s
        for bank in it.banks:
            if rates.inbound:
                who = {"participant": bank.identity.name}
                await it.hub("start", rate=rates.inbound / len(it.banks), duration=duration_s, seed=self._seed, **who)
            await self._submit(bank)

    async def _submit(self, bank: Bank) -> None:
        """Have a bank's processor go on to submit, for the rest of the time."""
        left_s = self._end_s - trio.current_time()
        if self._rates.outbound and left_s > 0:
            rate = self._rates.outbound / len(self.it.banks)
            wait_s = 2.0 if self._seed % 2 else 0.0
            await self.it.submit(rate, left_s, bank=bank, wait_s=wait_s, seed=self._seed)

    async def _become_well(self) -> None:
        """Nothing is done to anybody any more: everybody must come back, and every payment to its end."""
        it = self.it
        self.say("no more trouble, no more payments: everybody must come back, every payment to its end")
        with trio.move_on_after(WELL_WITHIN_S):
            for kept in self.hands.kept:
                while kept.pid is None:  # noqa: ASYNC110 - another process
                    await trio.sleep(0.05)
            await it.hub("bank", rule="accept")
        await self._must("everybody is up and signed on at both sites", WELL_WITHIN_S, it.signed_on)
        await self._must("the processors do what they are told", WELL_WITHIN_S, self._fast)
        await self._must("every payment has its outcome", SETTLED_WITHIN_S, it.settled)
        await self._must("everything is told", TOLD_WITHIN_S, self._told)

    async def _fast(self) -> None:
        await self.it.processor_mode("fast")

    async def _told(self) -> None:
        if not await self.it.told_everything(TOLD_WITHIN_S):
            raise WorldError("there is more to tell")

    async def _must(self, what: str, within_s: float, do: Callable[[], Awaitable[object]]) -> None:
        """Note as a problem when this is not so in time."""
        began_s = trio.current_time()
        said = "it takes too long"
        with trio.move_on_after(within_s):
            while True:
                try:
                    await do()
                except WorldError as error:
                    said = str(error)  # somebody may be about to be there again
                    await trio.sleep(LOOK_EVERY_S)
                else:
                    self.say(f"{what}, after {trio.current_time() - began_s:.1f} s")
                    return
        self.hands.problems.append(f"not so within {within_s:g} s: {what} ({said})")
        self.say(f"!! {self.hands.problems[-1]}")

    async def _close(self) -> dict[str, Any]:
        """Drain, and end the hub. Returns its statistics."""
        it, problems = self.it, self.hands.problems
        code = await it.stop_gateway()
        if code:
            problems.append(f"a gateway ended with {code} when it was told to")
        await self.hands.nobody_left()
        hub: dict[str, Any] = {}
        with trio.move_on_after(SETTLED_WITHIN_S):
            try:
                hub = await it.finish_hub()
            except ControlError as error:
                problems.append(f"the hub: {error}")
        if not hub:
            problems.append("the hub did not come to an end")
        for kept in self.hands.processors.values():
            if isinstance(kept, KeptProcessor) and kept.bank.processor is not None:
                await kept.bank.stop_processor()
        return hub
