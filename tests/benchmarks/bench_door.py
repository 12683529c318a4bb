"""What taking submissions costs, over loopback, and how far that is from a server that does nothing with them.

    python tests/benchmarks/bench_door.py [--submissions 20000] [--connections 1 16 64] [--tls]

The engine is a stub that calls everything durable at its next turn. The floor is the thinnest server that answers the
same bytes: read, parse HTTP, write a constant; same machine, same clients, one after the other in each round. Costs are
processor time of the serving process; the clients are a process of their own.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import httptools
import trio
import trustme

from gateway import config, log
from gateway.machine.arguments import Parser
from gateway.payments.outbound_law import State
from gateway.payments.work import Standing, Submission
from gateway.processor.door import Door
from gateway.processor.messages import Readiness, ReadyParts
from gateway.processor.request import Reader
from gateway.wire.codec import Codec, fpid_of

ROUNDS = 5
READY = Readiness(ready=True, reasons=(), parts=ReadyParts("sip-a", "sip", "0" * 16, "1"))
BODY = {
    "MsgTp": "pacs.008", "PrcgCd": "100000", "IntrBkSttlmAmt": {"Ccy": "GBP", "Amt": "123.45"},
    "IntrBkSttlmDt": "2025-11-22", "Dbtr": {"Nm": "MR A N OTHER", "PstlAdr": "1 HIGH STREET"},
    "DbtrAcct": {"Id": "87654321"}, "DbtrAgt": {"ClrSysId": "GBDSC", "MmbId": "200000"},
    "CdtrAcct": {"Id": "12345678"}, "CdtrAgt": {"ClrSysId": "GBDSC", "MmbId": "300000"},
    "InstgAgt": {"ClrSysId": "GBDSC", "MmbId": "200000"}, "Cdtr": {"Nm": "MRS B ELSEWHERE"},
    "RmtInf": {"Strd": {"CdtrRefInf": {"Ref": "INVOICE 1234"}}}, "EndToEndId": "NOTPROVIDED", "ChrgsInf": "001003SHA",
}  # fmt: skip
CLIENTS = r"""
import itertools, json, ssl, sys, time, trio
port, count, connections, ca, certificate = json.loads(sys.argv[1])
body = sys.stdin.buffer.read()
numbers = itertools.count()
context = None
if ca:
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate)
head = b"POST /payments HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
head += b"Content-Length: %d\r\nIdempotency-Key: bench-" % len(body)
async def client():
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
        await stream.do_handshake()
    while (number := next(numbers)) < count:
        await stream.send_all(b"%b%d\r\n\r\n%b" % (head, number, body))
        response = await stream.receive_some(65536)
        assert response.startswith(b"HTTP/1.1 202"), response
    await trio.aclose_forcefully(stream)
async def main():
    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(client)
    print(json.dumps(time.perf_counter() - start))
trio.run(main)
"""


def say(line: str) -> None:
    """Print it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Engine:
    """Durable at the next turn, all that came since the last one together, as after a sync."""

    def __init__(self) -> None:
        self._waiting: list[Submission] = []
        self._wake = trio.Event()
        self.turns = 0

    def submit(self, submissions: list[Submission]) -> None:
        """See `door.Engine`."""
        self._waiting += submissions
        self._wake.set()

    def look(self, key: str) -> Standing | None:
        """See `door.Engine`."""
        return None

    async def run(self) -> None:
        """Turn."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            waiting, self._waiting = self._waiting, []
            self.turns += 1
            for submission in waiting:
                submission.standing = Standing(fpid_of(submission.request), State.WAITING)
                submission.done(submission)


class Floor:
    """The thinnest server: a constant for each request."""

    RESPONSE = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

    async def serve(self, *, task_status: trio.TaskStatus[int]) -> None:
        """Serve until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self.attend, listeners)

    async def attend(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        complete = 0

        class Parsed:
            def on_message_complete(self) -> None:
                nonlocal complete
                complete += 1

        parser = httptools.HttpRequestParser(Parsed())
        try:
            while chunk := await stream.receive_some(65536):
                parser.feed_data(chunk)
                if complete:
                    await stream.send_all(self.RESPONSE * complete)
                    complete = 0
        except trio.BrokenResourceError:
            return


Serve = Callable[..., Awaitable[None]]


async def measure(serve: Serve, body: bytes, count: int, connections: int, papers: list[str]) -> tuple[float, float]:
    """Microseconds of processor time for each submission, and submissions per second."""
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve)
        arguments = json.dumps([port, count, connections, *papers])
        cpu = time.process_time()
        done = await trio.run_process(
            [sys.executable, "-c", CLIENTS, arguments], stdin=body, capture_stdout=True, check=True
        )
        cpu = time.process_time() - cpu
        nursery.cancel_scope.cancel()
    return cpu / count * 1e6, count / float(done.stdout)


def micro(body: bytes) -> None:
    """Reading alone."""
    reader, times = Reader(Codec(), "sip"), 20_000
    for name, text in (
        ("compact", body),
        ("with spaces", json.dumps(BODY).encode()),
        ("escaped", body.replace(b"/", b"\\/").replace(b"MR A", b"MR\\u0020A")),
    ):
        start = time.perf_counter()
        for _ in range(times):
            reader.read(text, "bench-1")
        say(f"read a submission, {name:12} {(time.perf_counter() - start) / times * 1e6:6.1f} us")


async def run(options: argparse.Namespace, tls: config.ServerTls | None, papers: list[str]) -> None:
    """Door and floor in turn, for each number of connections."""
    body = json.dumps(BODY, separators=(",", ":")).encode()
    micro(body)
    for connections in options.connections:
        found: dict[str, list[tuple[float, float]]] = {"floor": [], "door": []}
        for _ in range(ROUNDS):
            engine = Engine()
            door = Door(
                config.Submissions(port=0, tls=tls, connections_max=1024),
                engine,
                Codec(),
                "sip",
                lambda: READY,
                came_s=lambda now_s: now_s,
            )
            count = options.submissions // ROUNDS
            found["floor"].append(await measure(Floor().serve, body, count, connections, ["", ""]))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.run)
                found["door"].append(await measure(door.serve, body, count, connections, papers))
                nursery.cancel_scope.cancel()
        (floor_us, floor_per_s), (door_us, door_per_s) = (
            (median(us for us, _ in runs), median(per_s for _, per_s in runs)) for runs in found.values()
        )
        say(
            f"{connections:4} connections: door {door_us:6.1f} us of processor time each, {door_per_s:6.0f}/s; "
            f"floor {floor_us:6.1f} us, {floor_per_s:6.0f}/s; ratio {door_us / floor_us:.2f}"
        )


def main() -> None:
    """Measure."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", type=int, default=20_000)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--tls", action="store_true", help="the door with client certificates; the floor stays plain")
    options = parser.parse_args()
    log.configure("warning")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        tls: config.ServerTls | None = None
        papers: list[Any] = ["", ""]
        if options.tls:
            authority = trustme.CA()
            server, client = authority.issue_cert("localhost"), authority.issue_cert("processor")
            authority.cert_pem.write_to_path(place / "ca.pem")
            server.private_key_and_cert_chain_pem.write_to_path(place / "server.pem")
            client.private_key_and_cert_chain_pem.write_to_path(place / "client.pem")
            tls = config.ServerTls(f"{place}/server.pem", f"{place}/server.pem", f"{place}/ca.pem", "processor")
            papers = [f"{place}/ca.pem", f"{place}/client.pem"]
        trio.run(run, options, tls, papers)


if __name__ == "__main__":
    main()
