"""The library and the real pair: payments are submitted through it while a site dies, drains, or stands still.

The mock processor submits nothing here. What the library was asked and what it said stands in a book of a processor,
and the ledger judges it with the others; the FPIDs are those that the load generator makes of the same payments.
"""

import signal
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from msgspec.structs import replace

from gateway.sdk import Gateways, Limits, Settled, Site, Submitted, Unknown, prepare
from loadtest.ledger import books
from loadtest.ledger.entries import HubEvent, fpid_hash, key_hash
from loadtest.processor.book import ProcessorBook
from loadtest.processor.instructions import Instruction, InstructionGenerator
from loadtest.runs.world import World
from tests.system.test_outbound import OUT
from tests.system.worlds import WITHIN_S, Worlds, until

LIMITS = Limits(submit_within_s=20.0, within_s=60.0, call_within_s=5.0, wait_s=3)
AT_ONCE = 8
"""Payments in the air."""


class Payer:
    """A bank's processor, as small as can be: pays one payment after the other, and keeps a book."""

    def __init__(self, it: World) -> None:
        self.path = it.directory / "sdk.ndjson"
        self.paid: dict[str, str] = {}
        """By the hash of the FPID: the code that the library said."""
        self.sites: set[str] = set()
        """Who said so."""
        self.unknown = 0
        self.done = False
        self._book = ProcessorBook(self.path)
        self._generator = InstructionGenerator("SDK", time.strftime("%Y%m%d", time.gmtime()))
        self._gateways = Gateways(
            [
                Site(one.name, f"http://127.0.0.1:{one.submit_port}", f"http://127.0.0.1:{one.submit_port}/ready")
                for one in it.gateways
            ],
            LIMITS,
        )

    async def run(self) -> None:
        """Pay until told that it is done."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._gateways.run)
            async with trio.open_nursery() as paying:
                for _ in range(AT_ONCE):
                    paying.start_soon(self._pay_on)
            nursery.cancel_scope.cancel()
        self._book.close()

    async def _pay_on(self) -> None:
        while not self.done:
            await self._pay(self._generator.make())

    async def _pay(self, instruction: Instruction) -> None:
        prepared = prepare(msgspec.json.decode(instruction.body, type=Submitted), instruction.key)
        assert prepared.fpid == instruction.fpid
        name, first = fpid_hash(instruction.fpid), True
        self._book.submitting(name, key_hash(instruction.key))
        self._book.flush()
        while not isinstance(outcome := await self._gateways.submit(prepared, first=first), Settled):
            assert isinstance(outcome, Unknown), outcome  # one of the sites can always take it
            self._book.submitted(name, 0)
            self.unknown, first = self.unknown + 1, False
        self._book.submitted(name, 200, "SETTLED", outcome.code, str(outcome.progress.by))
        self.paid[name] = outcome.code
        self.sites.add(outcome.site)

    async def has_paid(self, more: int) -> None:
        """Wait until so many more are paid."""
        enough = len(self.paid) + more

        async def so_many() -> bool:
            return len(self.paid) >= enough

        await until(so_many)


@pytest.mark.parametrize(
    "trouble", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=["dies", "drains", "stands still"]
)
async def test_a_site_goes_and_each_payment_is_made_once(worlds: Worlds, trouble: signal.Signals) -> None:
    """Nothing fails meanwhile, and what the library says of each payment is what the hub says."""
    async with worlds(replace(OUT, data_centres=2, simulated="slow=0.1")) as it, trio.open_nursery() as nursery:
        payer = Payer(it)
        nursery.start_soon(payer.run)
        await payer.has_paid(30)
        gone = it.the_gateway
        if trouble is signal.SIGSTOP:
            assert gone.child is not None
            gone.child.process.send_signal(trouble)
            await payer.has_paid(30)
            gone.child.process.send_signal(signal.SIGCONT)
        else:
            await gone.end(trouble)
            await payer.has_paid(30)
            await gone.start()
            await it.signed_on(gone.child)
        await payer.has_paid(30)
        payer.done = True
        await until(partial(over, nursery))
        await judge(it, payer)


async def over(nursery: trio.Nursery) -> bool:
    """Whether all of its tasks have ended."""
    return not nursery.child_tasks


async def judge(it: World, payer: Payer) -> None:
    """Let everything be told, stop every part, and have the ledger compare the books."""
    await it.settled()
    assert await it.told_everything(WITHIN_S)
    assert await it.stop_gateway() == 0
    await it.finish_hub()
    await it.stop_processor()
    processors, journals = [it.bank.book, payer.path], [gateway.journal for gateway in it.gateways]
    verdict = await trio.to_thread.run_sync(partial(books.judge, [it.hub_book], processors, journals, whole=True))
    assert verdict.balances, verdict
    assert verdict.submitted == verdict.outbound["accepted"] == len(payer.paid)
    assert payer.paid == outcomes(it.hub_book)
    assert payer.sites == {gateway.name for gateway in it.gateways}


def outcomes(book: Path) -> dict[str, str]:
    """What became of each payment, by the hub; each once."""
    found: dict[str, str] = {}
    for event in books.lines(book, HubEvent):
        if event.event == "outcome":
            assert event.fpid not in found
            found[event.fpid] = event.code
    return found
