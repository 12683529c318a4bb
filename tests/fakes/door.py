"""For tests of the door: an engine that does what a test says, and clients over memory streams and sockets."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio
import trio.testing

from gateway import config
from gateway.http.pipe import StreamPipe
from gateway.payments.outbound_law import State
from gateway.payments.work import Standing, Submission
from gateway.processor.door import Door
from gateway.processor.messages import Readiness, ReadyParts
from gateway.wire.codec import fpid_of
from tests.fakes.processor import CODEC, PATIENCE_S

BODY: dict[str, Any] = {
    "MsgTp": "pacs.008",
    "PrcgCd": "100000",
    "TxId": "TEST00000000000001",
    "IntrBkSttlmAmt": {"Ccy": "GBP", "Amt": "123.45"},
    "IntrBkSttlmDt": "2025-11-22",
    "Dbtr": {"Nm": "MR SECRET", "PstlAdr": "1 HIGH STREET"},
    "DbtrAcct": {"Id": "87654321"},
    "DbtrAgt": {"ClrSysId": "GBDSC", "MmbId": "200000"},
    "CdtrAcct": {"Id": "12345678"},
    "CdtrAgt": {"ClrSysId": "GBDSC", "MmbId": "300000"},
    "InstgAgt": {"ClrSysId": "GBDSC", "MmbId": "200000"},
    "Cdtr": {"Nm": "MRS SECRET"},
    "RmtInf": {"Strd": {"CdtrRefInf": {"Ref": "INVOICE 1234"}}},
}
"""A submission; its FPID is that of `processor.payment()`."""
FPID = "TEST000000000000011020251122826200000     "


READY = Readiness(ready=True, reasons=(), parts=ReadyParts("sip-a", "sip", "0" * 16, "1"))


class Engine:
    """Answers by `play`; keeps what was submitted."""

    def __init__(self, play: Callable[[Submission], None] | None = None) -> None:
        self.play = play or durable
        self.batches: list[list[Submission]] = []
        self.known: dict[str, Standing] = {}
        self.readiness = READY
        self._news = trio.Event()

    @property
    def submissions(self) -> list[Submission]:
        """All of them, in their order."""
        return [submission for batch in self.batches for submission in batch]

    def submit(self, submissions: list[Submission]) -> None:
        """See `door.Engine`."""
        self.batches.append(submissions)
        for submission in submissions:
            self.play(submission)
        self._news.set()

    def look(self, key: str) -> Standing | None:
        """See `door.Engine`."""
        return self.known.get(key)

    async def submitted(self, count: int = 1) -> Submission:
        """Wait until so many were; the last of them."""
        while len(self.submissions) < count:
            self._news = trio.Event()
            await self._news.wait()
        return self.submissions[count - 1]


def standing(submission: Submission, state: State = State.WAITING, **more: str) -> Standing:
    """Where it stands."""
    return Standing(fpid_of(submission.request), state, **more)


def durable(submission: Submission) -> None:
    """Durable at once; waits for an outcome that never comes."""
    settle(submission, State.WAITING)


def settle(submission: Submission, state: State = State.SETTLED, **more: str) -> None:
    """Say this of it."""
    submission.standing = standing(submission, state, **more)
    submission.done(submission)


def refuse(submission: Submission, refused: Any = "unavailable", why: str = "no link", code: str = "") -> None:
    """Refuse it."""
    submission.refused, submission.why, submission.code = refused, why, code
    submission.done(submission)


def fresh(now_s: float) -> float:
    """What is read just came: this process has run all the time."""
    return now_s


def ignore(_: Submission) -> None:
    """Say nothing, yet."""


@dataclass
class Response:
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


def head(method: str = "POST", path: str = "/payments", *lines: str, key: str | None = "key-1") -> bytes:
    """Request line and headers, without what says how long the body is, nor the empty line."""
    text = [f"{method} {path} HTTP/1.1", "Host: gateway", *lines]
    if method == "POST":
        text += ["Content-Type: application/json", *([f"Idempotency-Key: {key}"] if key is not None else [])]
    return "".join(f"{line}\r\n" for line in text).encode()


def post(body: object = BODY, *lines: str, key: str | None = "key-1", path: str = "/payments") -> bytes:
    """A submission; bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return head("POST", path, *lines, key=key) + b"Content-Length: %d\r\n\r\n" % len(data) + data


def get(path: str, *lines: str, method: str = "GET") -> bytes:
    """A look."""
    return head(method, path, *lines) + b"\r\n"


@dataclass
class Client:
    """A client's end of a connection."""

    stream: trio.abc.Stream
    rest: bytes = b""
    closed: bool = field(default=False)

    async def send(self, data: bytes) -> None:
        """Any bytes."""
        await self.stream.send_all(data)

    async def response(self, *, bare: bool = False) -> Response:
        """The next one, whole; `bare`: to a HEAD. Raises EOFError at the end."""
        while b"\r\n\r\n" not in self.rest:
            await self._more()
        top, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = top.decode("ascii").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = 0 if bare or status == "100" else int(headers["content-length"])
        while len(self.rest) < length:
            await self._more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return Response(int(status), headers, body)

    async def ask(self, data: bytes) -> Response:
        """Send and receive."""
        await self.send(data)
        return await self.response()

    async def end(self) -> bytes:
        """What still comes until the other end hangs up; raises when it never does."""
        with trio.fail_after(PATIENCE_S):
            try:
                while True:
                    await self._more()
            except EOFError:
                rest, self.rest = self.rest, b""
                return rest

    async def _more(self) -> None:
        try:
            chunk = bytes(await self.stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            chunk = b""
        if not chunk:
            self.closed = True
            raise EOFError
        self.rest += chunk

    async def hang_up(self) -> None:
        """Without a word."""
        await self.stream.aclose()


class World:
    """A door over memory streams."""

    def __init__(self, nursery: trio.Nursery, door: Door, engine: Engine) -> None:
        self._nursery = nursery
        self.door = door
        self.engine = engine

    def client(self, *, named: bool = True) -> Client:
        """A connection of somebody who may submit, or only look."""
        ours, theirs = trio.testing.memory_stream_pair()
        self.attend(theirs, named=named)
        return Client(ours)

    def attend(self, stream: trio.abc.Stream, *, named: bool = True) -> None:
        """Serve this one."""
        self._nursery.start_soon(partial(self.door.attend, StreamPipe(stream), named=named))

    async def ask(self, data: bytes) -> Response:
        """One request on a connection of its own."""
        client = self.client()
        response = await client.ask(data)
        await client.hang_up()
        return response


def settings(**changes: Any) -> config.Submissions:
    """The door's settings, with changes."""
    return config.Submissions(**{"port": 0, **changes})


@asynccontextmanager
async def door(
    play: Callable[[Submission], None] | None = None,
    *,
    group: config.Group = "sip",
    came_s: Callable[[float], float] = fresh,
    **changes: Any,
) -> AsyncIterator[World]:
    """A door that serves memory streams, before an engine that plays this."""
    engine = Engine(play)
    async with trio.open_nursery() as nursery:
        served = Door(settings(**changes), engine, CODEC, group, lambda: engine.readiness, came_s=came_s)
        nursery.start_soon(served.sweep)
        with trio.fail_after(PATIENCE_S):
            yield World(nursery, served, engine)
        nursery.cancel_scope.cancel()
