"""Books are read from files and from the journal's own command."""

import sys
from pathlib import Path

import msgspec
import pytest

from gateway import disk
from gateway.config import JournalSettings
from gateway.journal.writer import open_journal
from gateway.log import fpid_hash
from gateway.payments import steps
from gateway.payments.steps import Kind
from loadtest.__main__ import main
from loadtest.hub.sites import HubBook
from loadtest.ledger import books
from loadtest.ledger.entries import key_hash
from loadtest.ledger.oracle import TOLD_KINDS, HubEvent, JournalEvent

FPID = "F" * 42


def test_the_hubs_book_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Event by event."""
    path = tmp_path / "hub.ndjson"
    written = [HubEvent("sent", "a", 1.5, 1.25, 1, "a", "9200"), HubEvent("fault", why="wrong MAC"), HubEvent("end")]
    book = HubBook(path)
    for event in written:
        book(event)
    book.close()
    assert list(books.lines(path, HubEvent)) == written


def test_a_last_line_that_was_cut_off_is_left_out_and_any_other_refused(tmp_path: Path) -> None:
    """A writer that was killed in the middle of a line leaves a torn one; damage elsewhere has its place named."""
    path = tmp_path / "hub.ndjson"
    path.write_bytes(b'{"event":"end"}\n{"event":"se')
    assert list(books.lines(path, HubEvent)) == [HubEvent("end")]
    path.write_bytes(b'{"event":"end"}\n{"event":"sold"}\n')
    with pytest.raises(books.Unusable, match=r"hub\.ndjson:2"):
        list(books.lines(path, HubEvent))


def test_the_told_kinds_are_the_gateways() -> None:
    """Restated in the ledger, so that it needs nothing of the gateway; held equal here."""
    assert {kind.name for kind in steps.TOLD_KINDS} == TOLD_KINDS


async def test_a_real_journal_is_read_through_the_gateways_command(tmp_path: Path) -> None:
    """Position, kind, hash, code, what was told, and the node that wrote it."""
    journal = open_journal(JournalSettings(dir=str(tmp_path)), disk.RealDisk(), on_record=lambda _: None)
    submission = steps.Submitted("key-1", b"12345678", b"covered")
    settlement = steps.Settlement("key-1", b"12345678", "1114", "", "receiver", b"response", b"covered")
    decision = steps.Decision("0083", "", b"12345678", b"reply", b"request")
    for kind, body in (
        (Kind.STARTED, steps.pack(steps.Started("sip-a", "1", "f"))),
        (Kind.STOOD_IN, steps.pack(decision)),
        (Kind.TOLD, steps.pack(steps.Told(2))),
        (Kind.SUBMITTED, steps.pack(submission)),
        (Kind.SETTLED, steps.pack(settlement)),
        (Kind.TOLD, steps.pack(steps.Told(5, "usm-a"))),
    ):
        journal.append(kind, body, fpid=FPID if kind is not Kind.STARTED else "", link=0, wall_ns=1)
    await journal.aclose()
    name = fpid_hash(FPID)
    assert list(books.journal(tmp_path)) == [
        ("sip-a", JournalEvent(1, "STARTED")),
        ("sip-a", JournalEvent(2, "STOOD_IN", name, "0083")),
        ("sip-a", JournalEvent(3, "TOLD", name, told=2)),
        ("sip-a", JournalEvent(4, "SUBMITTED", name, key=key_hash("key-1"))),
        ("sip-a", JournalEvent(5, "SETTLED", name, "1114", by="receiver")),
        ("sip-a", JournalEvent(6, "TOLD", name, told=5, to="usm-a")),
    ]


def test_no_journal_is_no_book(tmp_path: Path) -> None:
    """Rather than an empty one that balances."""
    with pytest.raises(books.Unusable, match="ended with"):
        list(books.journal(tmp_path / "nothing"))


def test_the_command_judges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 for books that balance, 1 for others, 2 for none; as text and as JSON."""
    monkeypatch.setattr(books, "SHOW", (sys.executable, "-c", "import sys; print(open(sys.argv[1]).read(), end='')"))
    journal, hub, processor = tmp_path / "journal", tmp_path / "hub", tmp_path / "processor"
    journal.write_text(
        '{"position":1,"kind":"STARTED","body":{"node":"n"}}\n'
        '{"position":2,"kind":"RECEIVED","fpid_hash":"a"}\n'
        '{"position":3,"kind":"ANSWERED","fpid_hash":"a","body":{"code":"0000"}}\n'
    )
    processor.write_text('{"event":"asked","fpid":"a"}\n{"event":"answered","fpid":"a","code":"0000"}\n')
    hub.write_text('{"event":"sent","fpid":"a"}\n{"event":"replied","fpid":"a","code":"0000"}\n{"event":"end"}\n')
    command = ["ledger", "--hub", str(hub), "--processor", str(processor), "--journal", str(journal)]
    assert main(command) == 0
    assert "The ledger balances." in capsys.readouterr().out
    hub.write_text('{"event":"sent","fpid":"a"}\n{"event":"end"}\n')
    assert main([*command, "--json"]) == 1
    verdict = msgspec.json.decode(capsys.readouterr().out)
    assert (verdict["balances"], verdict["accounts"]["lost"]) == (False, 1)
    assert main(["ledger", "--hub", str(tmp_path / "nothing")]) == 2
