"""Telling, on a mock clock: a journal in memory, and a processor that does to each notice what the test says."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import trio
import trio.testing

from gateway import config, metrics
from gateway.clock import Now
from gateway.http.statuses import Told
from gateway.processor.addressees import the_processor
from gateway.processor.client import Client
from gateway.processor.forwarder import Forwarder
from gateway.processor.messages import Notice
from tests.fakes.processor import CODEC, PATIENCE_S, WALL_NS, Journal, settings

OK = Told(204, 0.0, "status 204")

BUSY = Told(503, 0.0, "status 503")

GONE = Told(0, 0.0, "ConnectionRefusedError: Connection refused")

WRONG = Told(422, 0.0, "status 422")

TO = the_processor("node", CODEC)


class Teller:
    """Takes notices as the test says, and remembers when which came."""

    def __init__(self, verdict: Callable[[int], Told] = lambda _: OK, *, takes_s: float = 0.0) -> None:
        self.verdict = verdict
        self.takes_s = takes_s
        self.log: list[tuple[float, int]] = []
        self.taken: list[int] = []
        self.notices: list[Notice] = []
        self.under_way = self.under_way_peak = 0
        self.fpids: Counter[str] = Counter()

    async def tell(self, key: str, body: bytes) -> Told:
        """One notice."""
        notice = msgspec.json.decode(body, type=Notice)
        assert notice.id == key
        position = int(key.rpartition("/")[2])
        self.fpids[notice.FPID] += 1
        assert self.fpids[notice.FPID] == 1, "two notices about a payment at once"
        self.under_way += 1
        self.under_way_peak = max(self.under_way, self.under_way_peak)
        self.log.append((trio.current_time(), position))
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.under_way -= 1
            self.fpids[notice.FPID] -= 1
        told = self.verdict(position)
        if told.acknowledged:
            self.taken.append(position)
            self.notices.append(notice)
        return told

    def times(self, position: int) -> list[float]:
        """When this notice was told."""
        return [at for at, told in self.log if told == position]


def clock() -> Now:
    """The mock clock, and a wall that stands still."""
    return Now(trio.current_time(), WALL_NS)


def moving() -> Now:
    """The mock clock, and a wall that goes with it."""
    return Now(trio.current_time(), WALL_NS + round(trio.current_time() * 1e9))


def forwarder(teller: Teller | Client, given: config.Processor | None = None) -> Forwarder:
    """A forwarder without luck: pauses are as long as they get."""
    return Forwarder(given or settings(), "node", teller, TO, clock=clock, luck=lambda: 1.0)


@asynccontextmanager
async def telling(journal: Journal, teller: Teller, **changes: object) -> AsyncIterator[Forwarder]:
    """A running forwarder, which remembers what the journal holds."""
    found = forwarder(teller, settings(**changes))  # type: ignore[arg-type]
    for record in journal.records:
        found.remember(record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run, journal)
        with trio.fail_after(PATIENCE_S):
            yield found
        nursery.cancel_scope.cancel()


async def all_done(journal: Journal, count: int) -> None:
    """Wait until so many notices are told or parked."""
    while len(journal.done) < count:
        await journal.news()


def parked_now() -> float | None:
    """What the alert looks at."""
    return metrics.REGISTRY.get_sample_value("fps_notices_parked")
