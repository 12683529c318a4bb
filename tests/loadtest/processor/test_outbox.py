"""A mock processor that is killed: its book and its outbox are what the next one goes on from."""

from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from loadtest.ledger.entries import ProcessorEvent, fpid_hash
from loadtest.processor import outbox
from loadtest.processor.book import ProcessorBook
from loadtest.processor.outbox import Outbox, OutboxLine
from loadtest.processor.server import REVERSED, MockProcessor
from loadtest.processor.submitter import Submitter

FIRST, SECOND = OutboxLine("F1", "key-1", '{"a": "£"}', "sip", 2.5), OutboxLine("F2", "key-2", "{}", "sop")
TARGETS = {"sip": [9300, 9301], "sop": [9302]}


def kept(path: Path) -> list[OutboxLine]:
    """What the next one finds."""
    box = Outbox(path)
    box.close()
    return list(box)


def killed(box: Outbox) -> None:
    """What was not flushed is lost."""
    box._lines.clear()
    box.close()


def test_what_was_flushed_is_there_again(tmp_path: Path) -> None:
    """What is over is not, nor what was never flushed."""
    path = tmp_path / "processor.outbox"
    box = Outbox(path)
    box.aim(TARGETS)
    box.put(FIRST)
    box.put(SECOND)
    box.over("F1")
    box.flush()
    box.put(OutboxLine("F3", "key-3", "{}", "sip"))
    killed(box)

    again = Outbox(path)
    assert list(again) == [SECOND]
    assert again.targets == TARGETS
    again.over("F2")
    again.close()
    assert kept(path) == []


def test_a_torn_line_is_no_payment(tmp_path: Path) -> None:
    path = tmp_path / "processor.outbox"
    path.write_bytes(msgspec.json.encode(FIRST) + b"\n" + msgspec.json.encode(SECOND)[:-3])
    assert kept(path) == [FIRST]


def test_it_does_not_grow_with_what_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "COMPACT_BYTES", 1000)
    path = tmp_path / "processor.outbox"
    box = Outbox(path)
    box.aim(TARGETS)
    box.put(FIRST)
    for number in range(200):
        box.put(OutboxLine(str(number), "key", "{}", "sip"))
        box.flush()
        box.over(str(number))
    box.flush()
    assert path.stat().st_size < 2000
    box.close()
    again = Outbox(path)
    again.close()
    assert list(again) == [FIRST]
    assert again.targets == TARGETS


def test_without_a_path_nothing_is_kept() -> None:
    box = Outbox()
    box.aim(TARGETS)
    box.put(FIRST)
    box.flush()
    assert list(box) == []


def test_a_book_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "processor.ndjson"
    book = ProcessorBook(path)
    book.asked("aa")
    book.close()
    with path.open("ab") as file:
        file.write(b'{"event":"ans')
    book = ProcessorBook(path)
    book.answered("bb", "0000")
    assert list(book.before()) == [ProcessorEvent("asked", "aa")]
    book.close()
    book = ProcessorBook(path)
    assert list(book.before()) == [ProcessorEvent("asked", "aa"), ProcessorEvent("answered", "bb", "0000")]
    book.close()


def question(fpid: str) -> bytes:
    return msgspec.json.encode({"FPID": fpid})


def test_the_next_processor_says_what_the_one_before_said(tmp_path: Path) -> None:
    """Decisions, by the book; and what it was told to be reversed it does not accept from the other site."""
    path = tmp_path / "processor.ndjson"
    name = fpid_hash("F1")
    book = ProcessorBook(path)
    book.answered(name, "1114")
    book.noticed(fpid_hash("F2"), "sip-b", 7, acknowledged=True, kind="REVERSED")
    book.close()
    processor = MockProcessor("fast", ledger=path)
    for fpid, code in (("F1", b"1114"), ("F2", REVERSED.encode()), ("F3", b"ACSP")):
        reply = processor.take(b"POST", b"/payments", fpid.encode(), question(fpid))
        assert code in (reply.data or b""), fpid
    notice = msgspec.json.encode({"id": "sip-b/7", "kind": "REVERSED", "FPID": "F2"})
    reply = processor.take(b"POST", b"/notices", b"sip-b/7", notice)
    assert reply.then is not None
    reply.then()
    assert processor.counts["noticed_again"] == 1
    processor.book.close()
    processor.submitter.close()


async def test_the_next_submitter_submits_again_what_has_no_outcome(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Under the same key, to the same ports; the book says that an attempt may have been under way."""
    path = tmp_path / "processor.outbox"
    box = Outbox(path)
    box.aim({"sip": [1]})
    box.put(FIRST)
    box.flush()
    killed(box)
    book = ProcessorBook()
    asked: list[bytes] = []

    async def dial(_: int) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(listen, theirs)
        return ours

    async def listen(stream: trio.abc.Stream) -> None:
        asked.append(bytes(await stream.receive_some()))
        await stream.send_all(b"HTTP/1.1 400 -\r\nContent-Length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        submitter = Submitter(book, dial=dial, outbox=Outbox(path))
        nursery.start_soon(submitter.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(asked) == 1
    assert b"Idempotency-Key: key-1\r\n" in asked[0]
    assert asked[0].endswith(FIRST.body.encode())
    assert submitter.counts["taken up"] == 1
    said = [line for line in book.read(0).splitlines() if b'"submitted"' in line]
    assert [msgspec.json.decode(line, type=ProcessorEvent).status for line in said] == [0, 400]
    assert kept(path) == []
    book.close()
