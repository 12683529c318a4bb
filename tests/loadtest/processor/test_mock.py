"""The mock processor keeps its own word: modes, decisions for ever, the book, the control end point, the command."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from gateway.machine.arguments import Parser
from gateway.processor.messages import encode
from gateway.processor.writing import payment_of
from loadtest.ledger.oracle import ProcessorEvent, fpid_hash
from loadtest.processor import command as processor_command
from loadtest.processor.modes import parse_mode
from loadtest.processor.server import MockProcessor
from tests.fakes.processor import payment


class Caller:
    """A plain HTTP client on a stream to a mock."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._rest = b""

    async def aclose(self) -> None:
        """Hang up."""
        await self._stream.aclose()

    async def __call__(self, method: str, path: str, body: bytes = b"", key: str = "") -> tuple[int, bytes]:
        """One request and its response."""
        await self.send(method, path, body, key)
        return await self.response()

    async def send(self, method: str, path: str, body: bytes = b"", key: str = "") -> None:
        """One request."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        await self._stream.send_all(head.encode() + body)

    async def response(self) -> tuple[int, bytes]:
        """One response."""
        head = (await self._until(b"\r\n\r\n")).lower()
        status = int(head.split(b" ")[1])
        if b"transfer-encoding: chunked" in head:
            body = b""
            while size := int(await self._until(b"\r\n"), 16):
                body += await self._exactly(size)
                await self._until(b"\r\n")
            await self._until(b"\r\n")
            return status, body
        if status == 204:
            return status, b""
        return status, await self._exactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            await self._more()
        found, _, self._rest = self._rest.partition(mark)
        return found

    async def _exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            await self._more()
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    async def _more(self) -> None:
        chunk = await self._stream.receive_some()
        if not chunk:
            raise EOFError
        self._rest += chunk

    async def ask(self, number: int = 1) -> tuple[int, Any]:
        """Ask about a payment."""
        fpid, request = payment(number)
        status, body = await self("POST", "/base/payments", encode(payment_of(request, fpid)), fpid.replace(" ", "%20"))
        return status, json.loads(body) if body else None

    async def tell(self, position: int, number: int = 1) -> int:
        """Tell a notice."""
        notice = {"id": f"a/{position}", "kind": "STOOD_IN", "FPID": payment(number)[0], "recorded": ""}
        return (await self("POST", "/base/notices", encode(notice), f"a/{position}"))[0]


def caller(mock: MockProcessor, nursery: trio.Nursery) -> Caller:
    """A connection to the mock, in memory."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(mock.serve, theirs)
    return Caller(ours)


async def test_the_book(nursery: trio.Nursery) -> None:
    """Everything is in the book, in its order, under the FPID's hash: lines that the ledger reads."""
    mock = MockProcessor()
    call = caller(mock, nursery)
    name = fpid_hash(payment()[0])
    assert await call.ask() == (200, {"TxSts": "ACSP", "StsRsnInf": {"Rsn": {"Prtry": "0000"}}})
    assert await call.tell(7) == 204
    mock.set_mode("status:503")
    assert await call.tell(8) == 503
    expected = [
        ProcessorEvent("asked", name),
        ProcessorEvent("answered", name, "0000"),
        ProcessorEvent("noticed", name, node="a", position=7, kind="STOOD_IN"),
        ProcessorEvent("noticed", name, node="a", position=8, acknowledged=False, kind="STOOD_IN"),
    ]
    assert mock.events() == expected
    status, book = await call("GET", "/ledger")
    assert status == 200
    assert [msgspec.json.decode(line, type=ProcessorEvent) for line in book.splitlines()] == expected
    mock.book.close()


async def test_a_long_book(nursery: trio.Nursery) -> None:
    """The book is streamed in pieces, and goes on growing after it was read."""
    mock = MockProcessor()
    call = caller(mock, nursery)
    for number in range(1000):
        await call.ask(number)
    for more in range(3):
        _, book = await call("GET", "/ledger")
        assert book.count(b"\n") == 2000 + 2 * more
        await call.ask(2000 + more)
    mock.book.close()


async def test_a_decision_is_for_ever(nursery: trio.Nursery) -> None:
    """The same FPID gets the same decision in whatever mode it is asked about again, and repeats are counted."""
    mock = MockProcessor("refusing:1160")
    call = caller(mock, nursery)
    refused = (200, {"TxSts": "RJCT", "StsRsnInf": {"Rsn": {"Prtry": "1160"}, "AddtlInf": "account closed"}})
    assert await call.ask(1) == refused
    mock.set_mode("fast")
    assert await call.ask(1) == refused
    assert (await call.ask(2))[1]["TxSts"] == "ACSP"
    assert (mock.counts["asked"], mock.counts["asked_again"]) == (3, 1)
    fpid = payment(1)[0].replace(" ", "%20")
    status, body = await call("GET", f"/base/payments/{fpid}")
    assert (status, json.loads(body)) == refused
    assert (await call("GET", "/base/payments/unknown"))[0] == 404


async def test_a_notice_counts_once(nursery: trio.Nursery) -> None:
    """Told twice it is acknowledged twice, and counted as repeated."""
    mock = MockProcessor()
    call = caller(mock, nursery)
    for position in (1, 2, 1, 1):
        assert await call.tell(position) == 204
    assert (mock.counts["noticed"], mock.counts["noticed_again"]) == (2, 2)


async def test_slow(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """It takes its time."""
    call = caller(MockProcessor("slow:7.5"), nursery)
    await call.ask()
    assert trio.current_time() == 7.5


async def test_silent(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """It takes the question and says nothing, on that connection never again."""
    mock = MockProcessor("silent")
    call = caller(mock, nursery)
    with trio.move_on_after(100) as patience:
        await call.ask()
    assert patience.cancelled_caught
    assert (mock.counts["asked"], mock.counts["unanswered"], mock.counts["answered"]) == (1, 1, 0)


@pytest.mark.parametrize("mode", ["half", "huge", "malformed"])
async def test_useless_responses(mode: str, nursery: trio.Nursery) -> None:
    """What comes is no answer; the book says so."""
    mock = MockProcessor(mode)
    for number in range(20):
        call = caller(mock, nursery)
        try:
            status, answer = await call.ask(number)
        except (EOFError, ValueError, IndexError):
            continue
        assert mode != "half"
        assert status == 200
        assert answer != {"TxSts": "ACSP", "StsRsnInf": {"Rsn": {"Prtry": "0000"}}}
    assert mock.counts["unanswered"] == 20
    assert all(event.event == "asked" for event in mock.events())
    mock.book.close()


async def test_a_mix_is_the_same_for_the_same_seed(nursery: trio.Nursery) -> None:
    """Seed and FPID choose, whatever the order of asking; the shares are about what was wanted."""

    async def run(seed: int, numbers: list[int]) -> dict[int, Any]:
        call = caller(MockProcessor("mix:fast=2,refusing:1114=1,status:500=1", seed=seed), nursery)
        return {number: await call.ask(number) for number in numbers}

    first = await run(1, list(range(400)))
    assert await run(1, list(range(399, -1, -1))) == first
    assert await run(2, list(range(400))) != first
    refused = sum(answer == (500, {}) for answer in first.values())
    assert 60 < refused < 140


async def test_requests_that_come_together(nursery: trio.Nursery) -> None:
    """Pipelined requests are answered in their order."""
    mock = MockProcessor("mix:fast=1,refusing:1114=1")
    call = caller(mock, nursery)
    alone = [await call.ask(number) for number in range(10)]
    fpids = [payment(number) for number in range(10)]
    ours, theirs = trio.testing.memory_stream_pair()
    together = b""
    for fpid, request in fpids:
        body = encode(payment_of(request, fpid))
        head = f"POST /payments HTTP/1.1\r\nIdempotency-Key: {fpid.replace(' ', '%20')}\r\nContent-Length: {len(body)}"
        together += head.encode() + b"\r\n\r\n" + body
    nursery.start_soon(mock.serve, theirs)
    await ours.send_all(together)
    call = Caller(ours)
    assert [(status, json.loads(body)) for status, body in [await call.response() for _ in range(10)]] == alone


async def test_requests_that_a_gateway_would_not_make(nursery: trio.Nursery) -> None:
    """They are refused and counted: the mock is a judge, too."""
    mock = MockProcessor()
    call = caller(mock, nursery)
    fpid, request = payment()
    body = encode(payment_of(request, fpid))
    assert (await call("POST", "/payments", b"{}", "x"))[0] == 400
    assert (await call("POST", "/payments", body, "another"))[0] == 400
    assert (await call("POST", "/notices", b"{}", "x"))[0] == 400
    assert (await call("POST", "/notices", encode({"id": "a/x", "kind": "", "FPID": ""}), "a/x"))[0] == 400
    assert (await call("POST", "/notices", encode({"id": "a/1", "kind": "", "FPID": ""}), "a/2"))[0] == 400
    assert (await call("GET", "/elsewhere"))[0] == 404
    assert mock.counts["bad"] == 6


async def test_control(nursery: trio.Nursery) -> None:
    """The mode is switched while it runs; a wrong one changes nothing and says why."""
    mock = MockProcessor()
    call = caller(mock, nursery)
    status, body = await call("POST", "/control", b'{"mode":"refusing:1161"}')
    assert (status, json.loads(body)["mode"]) == (200, "refusing:1161")
    for wrong in (b'{"mode":"drunk"}', b"{}", b"", b'{"mode":"fast","x":1}'):
        status, body = await call("POST", "/control", wrong)
        assert status == 400
        assert json.loads(body)["error"]
    status, body = await call("GET", "/control")
    assert json.loads(body)["mode"] == "refusing:1161"


async def test_away_and_the_control_port() -> None:
    """Away, nobody listens and old connections are gone; the control port stays, and brings it back."""
    mock = MockProcessor()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda task_status: mock.run(control_port=0, task_status=task_status))
        call = Caller(await trio.open_tcp_stream("127.0.0.1", port))
        control = Caller(await trio.open_tcp_stream("127.0.0.1", mock.control_port))
        assert (await call.ask())[0] == 200
        await control("POST", "/control", b'{"mode":"away"}')
        with pytest.raises(EOFError):
            await call.response()
        await call.aclose()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", port)
        assert json.loads((await control("GET", "/control"))[1])["mode"] == "away"
        await control("POST", "/control", b'{"mode":"fast"}')
        with trio.fail_after(5):
            while True:
                try:
                    call = Caller(await trio.open_tcp_stream("127.0.0.1", port))
                except OSError:
                    continue
                break
        assert (await call.ask())[0] == 200
        assert mock.port == port
        await call.aclose()
        await control.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "text",
    [
        "", "drunk", "fast:1", "slow", "slow:x", "refusing", "refusing:0000", "refusing:11", "qualified:0000",
        "status:99", "status:x", "mix:", "mix:fast", "mix:fast=x", "mix:fast=0", "mix:fast=2,away=1",
        "mix:fast=2,slow:0.1=-1",
    ],
)  # fmt: skip
def test_no_modes(text: str) -> None:
    """What is no mode is refused."""
    with pytest.raises(ValueError, match=r"."):
        parse_mode(text)


def test_the_command(tmp_path: Path) -> None:
    """`processor` prints its ports first, appends its book to the file, and ends with the signal."""
    start = (
        "import sys; from gateway.machine.arguments import Parser;"
        "from loadtest.processor import command as mock;"
        "parser = Parser();"
        "mock.add_parser(parser.add_subparsers()); options = parser.parse_args(); sys.exit(options.run(options))"
    )
    book = tmp_path / "book"
    book.write_bytes(b'{"event":"asked","fpid":"before"}\n')
    command = [sys.executable, "-c", start, "processor", "--ledger", str(book), "--mode", "qualified:0081"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        ports = json.loads(running.stdout.readline())

        async def ask() -> None:
            call = Caller(await trio.open_tcp_stream("127.0.0.1", ports["port"]))
            assert (await call.ask())[1]["TxSts"] == "ACTC"
            await call.aclose()

        trio.run(ask)
        assert ports["control_port"]
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(10) == 0
    lines = [json.loads(line) for line in book.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["asked", "asked", "answered"]
    assert lines[0]["fpid"] == "before"


def test_a_command_that_cannot_be_done(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A wrong mode or file is said, with exit code 2."""
    parser = Parser()
    processor_command.add_parser(parser.add_subparsers())
    for arguments in (["--mode", "drunk"], ["--ledger", str(tmp_path / "no" / "book")], ["--certificate", "nowhere"]):
        options = parser.parse_args(["processor", *arguments])
        assert options.run(options) == 2
        assert "processor: " in capsys.readouterr().err
