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
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import httptools
import msgspec
import trio
from msgspec import Struct

from gateway.processor.messages import encode, status_of
from gateway.wire import codes
from loadtest.ledger.entries import ProcessorEvent, fpid_hash
from loadtest.parts import calls
from loadtest.parts.processes import listen
from loadtest.processor.book import Book
from loadtest.processor.outbox import Outbox
from loadtest.processor.submitter import Status, Submitter
from loadtest.traffic.judge import QUALIFIED

REQUEST_BYTES_MAX = 1 << 20
"""A longer request is none of a gateway's."""
DECISIONS_MAX = 2_000_000
"""FPIDs whose decision is kept (about 200 bytes each); beyond it the oldest are decided anew when they come again."""
REVERSED = "1100"
"""What a payment is refused with that was told to be reversed before it was asked about: the other site has it."""
GARBLED = "1100"
"""What a refusal counts as that was not said as agreed: `pair.refused_code`, as it is when nobody sets it."""
BOOK_EVERY_S = 0.2
"""And at least so often, while it runs."""
HUGE_BYTES = 8 << 20
CONNECTIONS_MAX = 4096

DECIDING = frozenset({"fast", "slow", "twice", "refusing", "qualified", "garbled"})
USELESS = frozenset({"silent", "malformed", "half", "huge", "status"})
KINDS = (*sorted(DECIDING), *sorted(USELESS), "away")
COUNTS = (
    "asked", "asked_again", "answered", "unanswered", "noticed", "noticed_again", "unacknowledged", "inquired", "bad",
    "connections",
)  # fmt: skip


class Behaviour(NamedTuple):
    """What it does with one request."""

    kind: str
    seconds: float = 0.0
    code: str = "0000"
    """What it answers: DE26; for `status`, the HTTP status."""


class Mode(NamedTuple):
    """What it does with all of them: behaviours, each up to its share of [0, 1)."""

    text: str
    shares: tuple[tuple[float, Behaviour], ...]

    def pick(self, luck: float) -> Behaviour:
        """The behaviour whose share `luck` (0 up to 1) falls into."""
        for up_to, behaviour in self.shares:
            if luck < up_to:
                return behaviour
        return self.shares[-1][1]


def parse_mode(text: str) -> Mode:
    """Read a mode. Raises ValueError with what is wrong."""
    if not text.startswith("mix:"):
        return Mode(text, ((1.0, _behaviour(text)),))
    weighed: list[tuple[float, Behaviour]] = []
    for part in text[4:].split(","):
        name, _, weight = part.rpartition("=")
        weighed.append((float(weight), _behaviour(name)))
    if any(behaviour.kind == "away" for _, behaviour in weighed):
        raise ValueError("away is all or nothing: it cannot be mixed")
    total = sum(weight for weight, _ in weighed)
    if total <= 0 or any(weight < 0 for weight, _ in weighed):
        raise ValueError("weights must not be negative, nor all zero")
    shares: list[tuple[float, Behaviour]] = []
    sum_ = 0.0
    for share, behaviour in weighed:
        sum_ += share
        shares.append((sum_ / total, behaviour))
    return Mode(text, tuple(shares))


def _behaviour(text: str) -> Behaviour:
    kind, _, value = text.partition(":")
    if kind not in KINDS:
        raise ValueError(f"unknown mode {kind!r}: one of {', '.join(KINDS)} or mix")
    if kind == "slow":
        return Behaviour(kind, seconds=float(value))
    if kind == "refusing":
        if len(value) != 4 or not value.isdigit() or value[0] != "1":
            raise ValueError("refusing takes a code of 1xxx")
        return Behaviour(kind, code=value)
    if kind == "qualified":
        if value not in QUALIFIED:
            raise ValueError(f"qualified takes one of {', '.join(sorted(QUALIFIED))}")
        return Behaviour(kind, code=value)
    if kind == "status":
        if not 200 <= int(value) <= 599:
            raise ValueError("status takes an HTTP status")
        return Behaviour(kind, code=value)
    if value:
        raise ValueError(f"{kind} takes no value")
    return Behaviour(kind, code=GARBLED if kind == "garbled" else "0000")


class _Asked(Struct, gc=False):
    FPID: str


class _Noticed(Struct, gc=False):
    id: str
    kind: str
    FPID: str = ""
    decided: Status = Status()
    answered: Status = Status()


class _Control(Struct, gc=False, forbid_unknown_fields=True):
    mode: str


_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_noticed = msgspec.json.Decoder(_Noticed).decode
_decode_control = msgspec.json.Decoder(_Control).decode


def _code_of(notice: _Noticed) -> str:
    """The code that the journal has with the step, where the processor hears it of a payment of its own."""
    if notice.kind == "CONTRADICTED":
        return notice.answered.code
    return notice.decided.code if notice.kind == "SETTLED" else ""


class Reply(NamedTuple):
    """What goes back on a connection: bytes, after a pause; None: nothing, ever."""

    data: bytes | None
    after_s: float = 0.0
    close: bool = False
    then: Callable[[], None] | None = None
    """Called when it leaves."""
    book: bool = False
    """The book follows, in chunks."""


def _http(status: int, body: bytes = b"") -> bytes:
    if status == 204:
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    head = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


_NOTED = _http(204)
_BOOK_HEAD = b"HTTP/1.1 200 -\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
_MALFORMED = (
    _http(200, b'{"TxSts":"ACSP"'),
    _http(200, b'{"TxSts":"ACTC","StsRsnInf":{"Rsn":{"Prtry":"0000"}}}'),
    _http(200, b'{"TxSts":"ACSP","TxSts":"ACSP"}'),
    _http(200, b'{"TxSts":"MAYBE"}'),
    _http(200, b"[]"),
    _http(200, b"\xff\xfe\x00"),
)
"""What no gateway may take for an answer."""
_GARBLED = (
    _http(200, b'{"TxSts":"RJCT"}'),
    _http(200, b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"1999"}}}'),
    _http(200, b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"9909"}}}'),
    _http(200, b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":1114}}}'),
    _http(200, b'{"TxSts":"ACSP","TxSts":"RJCT"}'),
    _http(200, b'{"TxSts":"RJCT","TxSts":"ACSP"}'),
    _http(200, b'[{"\\u0054xSts":"\\u0052JCT"}]'),
    _http(200, b'{"TxSts":"RJCT"'),
    _http(422, b'{"TxSts":"RJCT"}'),
    _http(503, b'{"TxSts":"RJCT"}'),
)
"""What every gateway has to take for a refusal all the same."""
_NO_HTTP = Reply(b"ICY 200 OK\r\n\r\n", close=True)


class MockProcessor:
    """The mock. `run` serves it on sockets, `serve` on any stream; everything is in the trio thread."""

    def __init__(
        self,
        mode: str = "fast",
        *,
        seed: int = 1,
        ledger: Path | None = None,
        tls: ssl.SSLContext | None = None,
        book: Book | None = None,
        dial: calls.Open = calls.dial,
    ) -> None:
        """`book` and `dial` are what a simulation replaces; `ledger`: where the book is kept."""
        self.mode = parse_mode(mode)
        self.book = book or Book(ledger)
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
        """What the processor before this one has said and acknowledged, by its book."""
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
        """Whether nobody listens."""
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
            await _Connection(self, stream).run()
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
        """What whoever runs this asks for."""
        if path == b"/control":
            return self._controlled(method, body)
        if path == b"/submissions":
            return self._ordered(method, body)
        if path == b"/ledger" and method == b"GET":
            return Reply(_BOOK_HEAD, book=True)
        return self._bad(404)

    def _asked(self, key: bytes, body: bytes) -> Reply:
        try:
            fpid = _decode_asked(body).FPID
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
            answer = _GARBLED[self._luck(fpid) % len(_GARBLED)]
        return Reply(answer, behaviour.seconds, then=leaves)

    def _told(self, key: bytes, body: bytes) -> Reply:
        try:
            notice = _decode_noticed(body)
            node, _, place = notice.id.rpartition("/")
            position = int(place)
        except (msgspec.DecodeError, ValueError):
            return self._bad(400)
        if key.decode("ascii", "replace") != notice.id:
            return self._bad(400)
        name = fpid_hash(notice.FPID) if notice.FPID else ""  # news is about no payment
        kind, code = notice.kind, _code_of(notice)
        contents = self.book.contents
        content = contents.of_notice(notice.FPID, body) if contents and notice.FPID else ""
        behaviour = self._behaviour(notice.id)
        taken = behaviour.kind == "status" and behaviour.code.startswith("2")
        if behaviour.kind in USELESS and not taken:
            self.counts["unacknowledged"] += 1
            self.book.noticed(name, node, position, acknowledged=False, kind=kind, content=content)
            # any 2xx acknowledges a notice: only what is not even HTTP is malformed here
            return _NO_HTTP if behaviour.kind == "malformed" else self._useless(behaviour, notice.id)

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

        return Reply(_NOTED, behaviour.seconds, then=leaves)

    def _inquired(self, fpid: str) -> Reply:
        self.counts["inquired"] += 1
        code = self._decided.get(fpid_hash(fpid))
        return Reply(self._answer(code) if code is not None else _http(404, b"{}"))

    def _controlled(self, method: bytes, body: bytes) -> Reply:
        if method == b"POST":
            try:
                self.set_mode(_decode_control(body).mode)
            except (msgspec.DecodeError, ValueError) as error:
                return Reply(_http(400, encode({"error": str(error)})))
        return Reply(_http(200, encode(self.statistics())))

    def _ordered(self, method: bytes, body: bytes) -> Reply:
        try:
            said = self.submitter.order(body) if method == b"POST" else self.submitter.statistics()
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            return Reply(_http(400, encode({"error": str(error)})))
        return Reply(_http(200, encode(said)))

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
            answer = self._answers[code] = _http(200, encode(status_of(code, "", codes.built_in())))
        return answer

    def _useless(self, behaviour: Behaviour, name: str) -> Reply:
        if behaviour.kind == "status":
            return Reply(_http(int(behaviour.code), b"{}"))
        if behaviour.kind == "malformed":
            which = self._luck(name) % (len(_MALFORMED) + 1)
            return Reply(_MALFORMED[which]) if which < len(_MALFORMED) else _NO_HTTP
        if behaviour.kind == "half":
            return Reply(self._answer("0000")[:-5], close=True)
        if behaviour.kind == "huge":
            return Reply(_http(200, b" " * HUGE_BYTES), close=True)
        return Reply(None)

    def _bad(self, status: int) -> Reply:
        self.counts["bad"] += 1
        return Reply(_http(status, b"{}"))


class _Connection:
    """Reads requests, answers them in their order; what came together leaves together."""

    # the `on_` methods are what the parser calls

    def __init__(self, processor: MockProcessor, stream: trio.abc.Stream) -> None:
        self._processor = processor
        self._stream = stream
        self._parser = httptools.HttpRequestParser(self)
        self._replies: list[Reply] = []
        self._url = self._key = self._body = b""

    async def run(self) -> None:
        read, feed = self._stream.receive_some, self._parser.feed_data
        try:
            while chunk := await read(65536):
                feed(chunk)
                replies, self._replies = self._replies, []
                if not await self._send(replies):
                    return
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, httptools.HttpParserError):
            return

    async def _send(self, replies: list[Reply]) -> bool:
        """Send these in their order; False: the connection is to be closed."""
        out = b""
        for reply in replies:
            if reply.after_s or reply.data is None:
                if out:
                    self._processor.book.flush()
                    await self._stream.send_all(out)
                    out = b""
                await trio.sleep(reply.after_s)
            if reply.data is None:
                await self._ignore()
                return False
            if reply.then is not None:
                reply.then()
            out += reply.data
            if reply.book:
                self._processor.book.flush()
                await self._stream.send_all(out)
                await self._send_book()
                out = b""
            if reply.close:
                break
        if out:
            self._processor.book.flush()
            await self._stream.send_all(out)
        return not (replies and replies[-1].close)

    async def _send_book(self) -> None:
        offset = 0
        while piece := self._processor.book.read(offset):
            offset += len(piece)
            await self._stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
        await self._stream.send_all(b"0\r\n\r\n")

    async def _ignore(self) -> None:
        """Never answer on this connection again: read until the other end has had enough."""
        while await self._stream.receive_some(65536):
            pass

    def on_message_begin(self) -> None:
        self._url = self._key = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 15 and name.lower() == b"idempotency-key":
            self._key = value

    def on_body(self, body: bytes) -> None:
        self._body = self._body + body if self._body else body
        if len(self._body) > REQUEST_BYTES_MAX:
            raise ValueError("too long a request")

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        self._replies.append(self._processor.take(method, self._url, self._key, self._body))


def _port_of(listeners: list[trio.SocketListener]) -> int:
    port: int = listeners[0].socket.getsockname()[1]
    return port
