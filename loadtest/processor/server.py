"""The mock processor: decides on payments, takes notices, misbehaves on request, and keeps a book of all of it.

It serves what the gateway expects (`POST /payments`, `POST /notices`, `GET /payments/{fpid}`), and for whoever runs it,
on the same port and on a control port that stays when it is away:

    POST /control {"mode": "slow:0.5"}   behave like this from now on; the reply is as of GET /control
    GET  /control                        mode and counts
    GET  /ledger                         the book so far: lines of `entries.ProcessorEvent`, JSON
    POST /submissions, GET /submissions  submit payments to the gateway: see `submitter`

Modes: `fast`; `slow:SECONDS`; `twice` (each answer); `silent`; `refusing:CODE` (1xxx); `qualified:CODE` (a qualified
accept's); `garbled` (refused, in one of several ways that are not agreed: it counts as 1100, the gateway's default);
`status:HTTP`; `malformed` (one of several ways); `half` (a response cut short); `huge`; `away` (nobody listens); and
`mix:MODE=WEIGHT,MODE=WEIGHT…`, where seed and FPID choose, so that a run can be repeated. Notices are acknowledged
in the modes that answer at all. An FPID that was decided on gets that decision for ever, whenever it is answered; one
that is told to be reversed, before it was asked about, is refused.

With --ledger it outlives a `kill -9`: what leaves is in its book before, and the next one with the same book has read
there what was answered and acknowledged; beside the book lies what it must submit again (`outbox`).
"""

import ssl
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import trio
from msgspec import Struct

from gateway.processor.messages import encode, status_of
from gateway.wire import codes
from loadtest.ledger.entries import ProcessorEvent, fpid_hash
from loadtest.parts import calls
from loadtest.parts.processes import listen
from loadtest.processor.book import ProcessorBook
from loadtest.processor.connection import (
    BOOK_HEAD,
    GARBLED_REFUSALS,
    MALFORMED,
    NO_HTTP,
    NOTED,
    Connection,
    Reply,
    response,
)  # fmt: skip
from loadtest.processor.heard import decode_notice, decode_question
from loadtest.processor.modes import DECIDING, GARBLED, USELESS, Behaviour, parse_mode
from loadtest.processor.outbox import Outbox
from loadtest.processor.submitter import Submitter

DECISIONS_MAX = 2_000_000
"""Decisions kept at most (about 200 bytes each). Beyond, the oldest payments are decided anew when they come again."""
REVERSED = "1100"
"""The code that refuses a payment whose reversal was told before the question: the other site has it."""
BOOK_EVERY_S = 0.2
"""And at least so often, while it runs."""
HUGE_BYTES = 8 << 20
CONNECTIONS_MAX = 4096

COUNTS = (
    "asked", "asked_again", "answered", "unanswered", "noticed", "noticed_again", "unacknowledged", "inquired", "bad",
    "connections",
)  # fmt: skip


class _ModeOrder(Struct, gc=False, forbid_unknown_fields=True):
    mode: str


_decode_mode = msgspec.json.Decoder(_ModeOrder).decode


class MockProcessor:
    """The mock. `run` serves it on sockets, `serve` on any stream; everything is in the trio thread."""

    def __init__(
        self,
        mode: str = "fast",
        *,
        seed: int = 1,
        ledger: Path | None = None,
        tls: ssl.SSLContext | None = None,
        book: ProcessorBook | None = None,
        dial: calls.Open = calls.dial,
    ) -> None:
        """`book` and `dial` are what a simulation replaces; `ledger`: where the book is kept."""
        self.mode = parse_mode(mode)
        self.book = book or ProcessorBook(ledger)
        self.counts = dict.fromkeys(COUNTS, 0)
        outbox = Outbox(ledger.with_suffix(".outbox") if ledger is not None else None)
        self.submitter = Submitter(self.book, dial=dial, outbox=outbox)
        self.port = 0
        self.control_port = 0
        self._seed = seed.to_bytes(8, "big", signed=True)
        self._tls = tls
        self._decided: dict[str, str] = {}
        self._noticed: dict[str, None] = {}
        self._answers: dict[str, bytes] = {}
        self._connections = 0
        self._changed = trio.Event()
        self._remember()

    def _remember(self) -> None:
        """Take over the answers and acknowledgements in the book of the processor before this one."""
        for event in self.book.before():
            if event.event == "answered":
                self._decided[event.fpid] = event.code
            elif event.event == "noticed" and event.acknowledged:
                self._noticed[f"{event.node}/{event.position}"] = None
                if event.kind == "REVERSED":
                    self._decided.setdefault(event.fpid, REVERSED)

    # --- what it is told

    def set_mode(self, text: str) -> None:
        """Behave like this from now on. Raises ValueError."""
        self.mode = parse_mode(text)
        self._changed.set()
        self._changed = trio.Event()

    @property
    def away(self) -> bool:
        """Whether the processor is away: nothing listens."""
        return self.mode.shares[0][1].kind == "away"

    def statistics(self) -> dict[str, Any]:
        """Mode and counts."""
        return {"mode": self.mode.text, **self.counts}

    def events(self) -> list[ProcessorEvent]:
        """The book so far, for tests."""
        data, offset = b"", 0
        while piece := self.book.read(offset):
            data, offset = data + piece, offset + len(piece)
        decode = msgspec.json.Decoder(ProcessorEvent).decode
        return [decode(line) for line in data.splitlines()]

    # --- its sockets

    async def run(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = None,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; started with the port. `control_port` None: no control port; 0: any."""
        try:
            async with trio.open_nursery() as nursery:
                self.port = port
                if control_port is not None:
                    serve = partial(listen, self.serve, control_port, host=host)
                    self.control_port = _port_of(await nursery.start(serve))
                nursery.start_soon(self._keep_book)
                nursery.start_soon(self.submitter.run)
                await nursery.start(self._listen, host)
                task_status.started(self.port)
        finally:
            self.book.close()

    async def _listen(self, host: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, unless away; and again on the same port when back."""
        started = False
        while True:
            changed = self._changed
            if self.away and started:
                await changed.wait()
                continue
            async with trio.open_nursery() as nursery:
                serve = partial(listen, self._accepted, self.port, host=host, backlog=1024)
                self.port = _port_of(await nursery.start(serve))
                if not started:
                    task_status.started()
                started = True
                while not self.away:
                    changed = self._changed
                    await changed.wait()
                nursery.cancel_scope.cancel()

    async def _accepted(self, stream: trio.SocketStream) -> None:
        if self._connections >= CONNECTIONS_MAX:
            return
        await self.serve(stream if self._tls is None else trio.SSLStream(stream, self._tls, server_side=True))

    async def _keep_book(self) -> None:
        while True:
            await trio.sleep(BOOK_EVERY_S)
            self.book.flush()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends."""
        self._connections += 1
        self.counts["connections"] += 1
        try:
            await Connection(self.take, self.book, stream).run()
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    # --- what it says

    def take(self, method: bytes, path: bytes, key: bytes, body: bytes) -> Reply:
        """Decide what to do with a request."""
        if path.endswith(b"/payments"):
            return self._asked(key, body)
        if path.endswith(b"/notices"):
            return self._told(key, body)
        if b"/payments/" in path and method == b"GET":
            return self._inquired(unquote(path.rpartition(b"/payments/")[2].decode("ascii", "replace")))
        return self._steered(method, path, body)

    def _steered(self, method: bytes, path: bytes, body: bytes) -> Reply:
        """Do a request of the control port."""
        if path == b"/control":
            return self._controlled(method, body)
        if path == b"/submissions":
            return self._ordered(method, body)
        if path == b"/ledger" and method == b"GET":
            return Reply(BOOK_HEAD, book=True)
        return self._bad(404)

    def _asked(self, key: bytes, body: bytes) -> Reply:
        try:
            fpid = decode_question(body).FPID
        except msgspec.DecodeError:
            return self._bad(400)
        if unquote(key.decode("ascii", "replace")) != fpid:
            return self._bad(400)
        counts, name = self.counts, fpid_hash(fpid)
        self.submitter.came(fpid, body)
        counts["asked"] += 1
        contents = self.book.contents
        self.book.asked(name, contents.of_json(fpid, body) if contents else "")
        behaviour = self._behaviour(fpid)
        decided = self._decided.get(name)
        if decided is not None:
            counts["asked_again"] += 1
        elif behaviour.kind in DECIDING:
            decided = self._decided[name] = behaviour.code
            if len(self._decided) > DECISIONS_MAX:
                del self._decided[next(iter(self._decided))]
        if decided is None or behaviour.kind in USELESS:
            counts["unanswered"] += 1
            return self._useless(behaviour, fpid)
        code = decided

        def leaves() -> None:
            counts["answered"] += 1
            self.book.answered(name, code)

        answer = self._answer(code) * (2 if behaviour.kind == "twice" else 1)
        if behaviour.kind == "garbled" and code == GARBLED:
            answer = GARBLED_REFUSALS[self._luck(fpid) % len(GARBLED_REFUSALS)]
        return Reply(answer, behaviour.seconds, then=leaves)

    def _told(self, key: bytes, body: bytes) -> Reply:
        try:
            notice = decode_notice(body)
            node, _, place = notice.id.rpartition("/")
            position = int(place)
        except (msgspec.DecodeError, ValueError):
            return self._bad(400)
        if key.decode("ascii", "replace") != notice.id:
            return self._bad(400)
        name = fpid_hash(notice.FPID) if notice.FPID else ""  # news is about no payment
        kind, code = notice.kind, notice.code
        contents = self.book.contents
        content = contents.of_notice(notice.FPID, body) if contents and notice.FPID else ""
        behaviour = self._behaviour(notice.id)
        taken = behaviour.kind == "status" and behaviour.code.startswith("2")
        if behaviour.kind in USELESS and not taken:
            self.counts["unacknowledged"] += 1
            self.book.noticed(name, node, position, acknowledged=False, kind=kind, content=content)
            # any 2xx acknowledges a notice: only what is not even HTTP is malformed here
            return NO_HTTP if behaviour.kind == "malformed" else self._useless(behaviour, notice.id)

        def leaves() -> None:
            if notice.id in self._noticed:
                self.counts["noticed_again"] += 1
            else:
                self.counts["noticed"] += 1
                self._noticed[notice.id] = None
                if len(self._noticed) > DECISIONS_MAX:
                    del self._noticed[next(iter(self._noticed))]
            self.book.noticed(name, node, position, acknowledged=True, kind=kind, code=code, content=content)
            if kind == "REVERSED":
                self._decided.setdefault(name, REVERSED)
            self.submitter.noticed(notice.FPID, kind, code)

        return Reply(NOTED, behaviour.seconds, then=leaves)

    def _inquired(self, fpid: str) -> Reply:
        self.counts["inquired"] += 1
        code = self._decided.get(fpid_hash(fpid))
        return Reply(self._answer(code) if code is not None else response(404, b"{}"))

    def _controlled(self, method: bytes, body: bytes) -> Reply:
        if method == b"POST":
            try:
                self.set_mode(_decode_mode(body).mode)
            except (msgspec.DecodeError, ValueError) as error:
                return Reply(response(400, encode({"error": str(error)})))
        return Reply(response(200, encode(self.statistics())))

    def _ordered(self, method: bytes, body: bytes) -> Reply:
        try:
            said = self.submitter.order(body) if method == b"POST" else self.submitter.statistics()
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            return Reply(response(400, encode({"error": str(error)})))
        return Reply(response(200, encode(said)))

    def _behaviour(self, name: str) -> Behaviour:
        shares = self.mode.shares
        if len(shares) == 1:
            return shares[0][1]
        return self.mode.pick(self._luck(name) / 2**64)

    def _luck(self, name: str) -> int:
        return int.from_bytes(blake2b(name.encode(), digest_size=8, key=self._seed).digest(), "big")

    def _answer(self, code: str) -> bytes:
        answer = self._answers.get(code)
        if answer is None:
            answer = self._answers[code] = response(200, encode(status_of(code, "", codes.built_in())))
        return answer

    def _useless(self, behaviour: Behaviour, name: str) -> Reply:
        if behaviour.kind == "status":
            return Reply(response(int(behaviour.code), b"{}"))
        if behaviour.kind == "malformed":
            which = self._luck(name) % (len(MALFORMED) + 1)
            return Reply(MALFORMED[which]) if which < len(MALFORMED) else NO_HTTP
        if behaviour.kind == "half":
            return Reply(self._answer("0000")[:-5], close=True)
        if behaviour.kind == "huge":
            return Reply(response(200, b" " * HUGE_BYTES), close=True)
        return Reply(None)

    def _bad(self, status: int) -> Reply:
        self.counts["bad"] += 1
        return Reply(response(status, b"{}"))


def _port_of(listeners: list[trio.SocketListener]) -> int:
    port: int = listeners[0].socket.getsockname()[1]
    return port
