"""A processor that does what a test says, line by line, over memory streams; a journal in memory to follow."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import trio
import trio.testing

from gateway import config
from gateway.http.directory import Directory
from gateway.payments import steps
from gateway.payments.steps import TOLD_KINDS, Kind
from gateway.payments.work import Answer, Ask
from gateway.processor.answers import Answers
from gateway.processor.client import Client
from gateway.wire.codec import Codec
from gateway.wire.message import PaymentRequest
from tests.fakes.network import nameless

ACCEPTED = b'{"TxSts":"ACSP"}'
REFUSED = b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"1114"}}}'
WALL_NS = 1_763_844_901_123_456_789
CODEC = Codec()
PATIENCE_S = 100_000
"""On a mock clock: when a test that waits for what never comes fails."""


def payment(number: int = 1) -> tuple[str, PaymentRequest]:
    """A payment as the hub sends it, and its FPID."""
    trn = f"TEST{number:014d}"
    request = PaymentRequest(
        mti="9200", processing_code="100000", amount="00000000012345", date_sent="20251122", settlement_date="20251122",
        settlement_cycle="001", trn=trn, submitting_member="200000", creditor_account="12345678", debtor_agent="200000",
        debtor_account="87654321", charges="001003SHA", currency="826", creditor_agent="300000", sender="200000",
        receiving_member="300000", debtor_name="MR SECRET", debtor_address="1 HIGH STREET", creditor_name="MRS SECRET",
        reference="INVOICE 1234",
    )  # fmt: skip
    return f"{trn}1020251122826200000     ", request


def settings(url: str = "http://processor:80/base", **changes: object) -> config.Processor:
    """The processor's settings, with changes."""
    return config.Processor(**{"url": url, **changes})  # type: ignore[arg-type]


@dataclass
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """The processor's end of a connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._rest = b""

    async def request(self) -> Request:
        """The next request, whole. Raises EOFError at the end."""
        while b"\r\n\r\n" not in self._rest:
            await self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        method, path, version = first.split(" ")
        assert version == "HTTP/1.1"
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._rest) < length:
            await self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return Request(method, path, headers, body)

    async def _more(self) -> None:
        try:
            chunk = await self._stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            chunk = b""
        if not chunk:
            raise EOFError
        self._rest += chunk

    async def respond(self, status: int = 200, body: bytes = ACCEPTED, *headers: bytes) -> None:
        """A whole response."""
        lines = b"".join(header + b"\r\n" for header in headers)
        await self.send(b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), lines, body))

    async def send(self, data: bytes) -> None:
        """Any bytes."""
        await self._stream.send_all(data)

    async def close(self) -> None:
        """Hang up."""
        await self._stream.aclose()


Script = Callable[[Peer], Awaitable[None]]


class Processor:
    """A scripted processor: each connection is played by `script`."""

    def __init__(self, nursery: trio.Nursery, script: Script) -> None:
        self._nursery = nursery
        self.script = script
        self.away = False
        """Refuse connections."""
        self.dials: list[float] = []
        """When each connection was tried."""
        self.places: list[tuple[str, int]] = []
        """Where to."""
        self.open = 0
        """Connections that the script has not let go of."""
        self.open_peak = 0

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """What the client dials with."""
        self.dials.append(trio.current_time())
        self.places.append((host, port))
        await trio.lowlevel.checkpoint()
        if self.away:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.play, ours)
        return theirs

    async def play(self, stream: trio.abc.Stream) -> None:
        """One connection."""
        self.open += 1
        self.open_peak = max(self.open_peak, self.open)
        try:
            await self.script(Peer(stream))
        except (EOFError, trio.BrokenResourceError):
            pass
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)


async def answering(peer: Peer) -> None:
    """Accept everything."""
    while True:
        await peer.request()
        await peer.respond()


class Asking:
    """A client under test, the scripted processor, and what came back."""

    def __init__(self, client: Client, processor: Processor) -> None:
        self.client = client
        self.processor = processor
        self.answers: list[Answer] = []
        self.times: list[float] = []
        self._came = trio.Event()

    def take(self, answers: list[Answer]) -> None:
        """For `Client.run`."""
        self.answers += answers
        self.times += [trio.current_time()] * len(answers)
        self._came.set()

    def ask(self, *numbers: int, within_s: float = 5.0, unusual: bool = False) -> None:
        """Ask about these payments; `unusual`: with the mark that their date is."""
        deadline_s = trio.current_time() + within_s
        self.client.ask([Ask(*payment(number), deadline_s, number, unusual_date=unusual) for number in numbers or (1,)])

    async def answered(self, count: int = 1) -> list[tuple[int, str]]:
        """Wait until so many answers have come; each ask's number and code."""
        while len(self.answers) < count:
            self._came = trio.Event()
            await self._came.wait()
        return [(answer.context, answer.code) for answer in self.answers]

    @property
    def counts(self) -> dict[str, int]:
        """Counts of asks by outcome, without the zeros."""
        return {outcome: count for outcome, count in self.client.statistics()["asks"].items() if count}


@asynccontextmanager
async def asking(
    script: Script = answering, *, answers: Answers | None = None, directory: Directory | None = None,
    luck: Callable[[], float] = lambda: 1.0, **changes: object,
) -> AsyncIterator[Asking]:  # fmt: skip
    """A running client over memory streams to a processor that plays this script."""
    async with trio.open_nursery() as nursery:
        processor = Processor(nursery, script)
        network = nameless(processor.connect)
        client = Client(settings(**changes), network=network, directory=directory, luck=luck, answers=answers)  # type: ignore[arg-type]
        found = Asking(client, processor)
        await nursery.start(client.run, found.take)
        with trio.fail_after(PATIENCE_S):
            yield found
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that only real sockets can bring about, and no event tells."""
    with trio.fail_after(10):
        while not condition():
            await trio.lowlevel.checkpoint()


class Record(NamedTuple):
    """A record of the journal."""

    position: int
    time_ns: int
    kind: Kind
    fpid: str
    body: bytes


@dataclass
class Journal:
    """A journal in memory with one follower, whose cursor outlives a restart. Everything is durable at once."""

    records: list[Record] = field(default_factory=list)
    cursor: int = 1
    room: bool = True
    commits: int = 0
    done: dict[int, str] = field(default_factory=dict)
    """The positions that are told, parked or dropped, in the order of it."""
    gone_before: int = 1
    """The oldest position that retention has left."""
    _news: trio.Event = field(default_factory=trio.Event)

    def append(self, kind: Kind, body: bytes = b"", *, fpid: str = "", link: int = 0, wall_ns: int = WALL_NS) -> int:
        """Append a record."""
        position = len(self.records) + 1
        self.records.append(Record(position, wall_ns, kind, fpid, body))
        if kind in (Kind.TOLD, Kind.PARKED, Kind.DROPPED):
            about = steps.unpack(kind, body)
            assert isinstance(about, steps.Told | steps.Parked | steps.Dropped)
            assert self.done.get(about.position) in (None, "PARKED"), "told twice"
            self.done[about.position] = kind.name
        self._news.set()
        self._news = trio.Event()
        return position

    def commit(self) -> None:
        """Count it."""
        self.commits += 1

    def has_room(self) -> bool:
        """As set."""
        return self.room

    def follower(self, name: str, kinds: frozenset[Kind]) -> "Follower":
        """From the cursor."""
        return Follower(self, kinds)

    async def record(self, position: int) -> Record | None:
        """As it was written."""
        await trio.lowlevel.checkpoint()
        return self.records[position - 1] if self.gone_before <= position <= len(self.records) else None

    async def until_durable(self, position: int) -> None:
        """Which it is."""
        assert position <= len(self.records)
        await trio.lowlevel.checkpoint()

    async def news(self) -> None:
        """Wait for the next record."""
        await self._news.wait()

    def stand_in(self, number: int = 1) -> int:
        """Record a stand-in for this payment."""
        fpid, request = payment(number)
        body = steps.Decision("0083", "", bytes(8), b"", CODEC.encode(request) + b"0" * 16)
        return self.append(Kind.STOOD_IN, steps.pack(body), fpid=fpid)


class Follower:
    """Reads the journal in memory."""

    def __init__(self, journal: Journal, kinds: frozenset[Kind]) -> None:
        self._journal = journal
        self._kinds = kinds
        self.position = journal.cursor
        self.asked_for: list[int] = []

    async def batch(self, max_records: int) -> Sequence[Record]:
        """The next records of its kinds."""
        while True:
            await trio.lowlevel.checkpoint()
            found: list[Record] = []
            records = self._journal.records
            while self.position <= len(records) and len(found) < max_records:
                record = records[self.position - 1]
                self.position += 1
                if record.kind in self._kinds:
                    found.append(record)
            if found:
                return found
            await self._journal.news()

    def settle(self, position: int) -> None:
        """Move the cursor."""
        assert position <= self.position
        journal = self._journal
        for record in journal.records[journal.cursor - 1 : position - 1]:
            assert record.kind not in TOLD_KINDS or record.position in journal.done, "settled past what is not done"
        journal.cursor = max(journal.cursor, position)
