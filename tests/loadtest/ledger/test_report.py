"""Reports say what was judged and measured, and what broke it."""

import argparse
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from loadtest.ledger import report
from loadtest.ledger.oracle import HubEvent, Ledger, ProcessorEvent
from loadtest.runs import demo
from loadtest.runs.board import Board
from loadtest.runs.rows import Part, PlainLines, Row
from loadtest.runs.screen import screen
from loadtest.traffic.histogram import Histogram


def verdict(*events: HubEvent) -> str:
    ledger = Ledger()
    for event in events:
        ledger.hub(event)
    return report.verdict(ledger.verdict())


def test_a_verdict_ends_with_its_word() -> None:
    """And names what was violated, with the first few examples and how many more there are."""
    assert verdict(HubEvent("end")).endswith("The ledger balances.")
    text = verdict(*(HubEvent("sent", f"x{number}") for number in range(8)), HubEvent("end"))
    assert text.endswith("THE LEDGER DOES NOT BALANCE.")
    assert "x0: the hub still waits for it" in text
    assert "and 3 more" in text
    assert "x7" not in text


def test_payments_that_leave_have_their_accounts_below_those_that_come() -> None:
    """And are not mentioned where none did."""
    ledger = Ledger()
    ledger.processor(ProcessorEvent("submitting", "a"))
    ledger.processor(ProcessorEvent("submitted", "a", status=503))
    ledger.hub(HubEvent("end"))
    lines = [line.split() for line in report.verdict(ledger.verdict()).splitlines()]
    assert lines.index(["submitted", "1"]) < lines.index(["not", "taken", "1"])
    assert ["submitted", "0"] not in [line.split() for line in verdict(HubEvent("end")).splitlines()]


def test_latencies_are_a_table_in_milliseconds() -> None:
    """Empty ones show that they are; stand-in's only where there was one."""
    histogram = Histogram()
    histogram.record(0.0025)
    text = report.latencies({"intended": histogram.summary(), "stood_in": {"count": 0}, "lateness": {"count": 0}})
    assert "2.50" in text
    assert "stand-in" not in text
    assert text.splitlines()[-1].split()[-5:] == ["–"] * 5


HUB: dict[str, Any] = {
    "codes": {"0000": 5, "0083": 3, "1114": 1},
    "counts": {"sent": 12, "submitted": 9, "reversed": 2, "faults": 0},
    "outstanding": 1,
    "submitted": 7,
    "submitted_codes": {"0000": 8, "9911": 1},
    "submitted_outcomes": {"0000": 6, "9911": 1},
    "recent": {"decided": {"count": 1, "p50_ms": 2.0, "p99_ms": 1503.25}},
}


SITES_UP = (Part("hub site a", up=True), Part("hub site b", up=True))
AWAY: dict[str, Any] = {}


def waiting(notices: int) -> dict[str, Any]:
    """What a gateway's `/statistics` says."""
    return {"forwarder": {"backlog_at_least": notices, "in_flight": 1}}


def row(elapsed_s: float, *said: dict[str, Any], parts: tuple[Part, ...] = SITES_UP) -> Row:
    return demo.row(elapsed_s, HUB, said, parts)


def test_a_row_tells_answers_from_stand_in_and_refusals() -> None:
    """By the action codes that the hub heard, each payment once, however often it was submitted; what is to be told is
    that of all gateways that are there.
    """
    shown = row(3.2, waiting(4), AWAY, waiting(6))
    assert shown[2:] == (12, 5, 3, 1, 2, 1, 7, 6, 12, 2.0, 1503.25, 0)
    assert row(3.2, AWAY, AWAY).untold is None
    said = dict(shown.lines())
    assert said["payments out"] == "7: 6 accepted"
    assert said["payments in"] == "12: 5 answered, 3 by stand-in, 1 refused, 2 reversed"
    assert said["right now"] == "1 in the air, 12 to be told, 0 faults"
    assert said["reply time"] == "half within 2.0 ms, 99 of 100 within 1,503.2 ms"
    quiet = dict(shown._replace(p50_ms=None, p99_ms=None).lines())
    assert quiet["reply time"] == "no reply just now"


def test_without_a_terminal_there_are_lines_at_events_and_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """A log of a demo in CI stays readable, and says who is away."""
    with screen(plain=False) as shown:
        assert isinstance(shown, PlainLines)
        for second in range(12):
            shown.row(row(second, waiting(4)))
        shown.event("something happens")
        shown.row(row(12, waiting(4), parts=(*SITES_UP, Part("processor", up=False))))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  payments")[0].strip() for line in lines] == [
        "0 s", "5 s", "10 s", "--- something happens", "12 s",
    ]  # fmt: skip
    assert lines[2].endswith("away nobody")
    assert lines[-1].endswith("away processor")
    assert max(map(len, lines)) <= 120


class Terminal(io.StringIO):
    """A terminal, as far as rich asks."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(("wide", "high"), [(80, 24), (120, 40), (40, 12)])
def test_a_picture_fits_into_its_terminal_and_the_latest_events_are_in_it(wide: int, high: int, encoding: str) -> None:
    """However many there were and however long they are; a terminal that knows no more gets ASCII."""
    terminal = Terminal(encoding)
    on = Console(file=terminal, force_terminal=True, width=wide, height=high, color_system=None)
    with Live(console=on, auto_refresh=False) as live:
        board = Board(live)
        parts = tuple(Part(f"data centre {name}", up=name != "B") for name in "ABCDE")
        for second in range(60):
            board.row(row(second, waiting(second), parts=parts))
            board.event(f"event {second}: " + "something long is said of it, " * (second % 4))
        height = len(on.render_lines(live.get_renderable()))
        text = terminal.getvalue()
    last = text.rpartition("event 58")[2]
    assert "event 59" in last
    assert height < high
    if encoding == "ascii":
        assert text.isascii()
        assert "AWAY data centre B" in text


def test_what_is_said_to_look_at_next_is_there() -> None:
    """Commands to copy; a demo whose directory is gone says how to keep it."""
    kept = demo.where_next(Path("var/demo/world-x/journal"))
    assert "fps-gateway journal show var/demo/world-x/journal" in kept
    assert "--last" in demo.where_next(None)
    assert max(map(len, kept.splitlines())) <= 80
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    own = next(line.split("loadtest ")[1] for line in kept.splitlines() if "loadtest try" in line)
    assert own in readme


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"last": None, "dir": None, "keep": False, **given})


def test_the_last_demo_makes_way_for_the_next_and_nothing_else_does(tmp_path: Path) -> None:
    """What somebody else has put there is not removed, nor is a demo that still runs."""
    last = tmp_path / "var" / "demo"
    with demo.place(options(last=last)) as (below, keep):
        assert (below, keep) == (last, True)
        (last / "world-1" / "journal").mkdir(parents=True)
        with pytest.raises(OSError, match="a demo runs there"), demo.place(options(last=last)):
            pass
        assert (last / "world-1").exists()
    with demo.place(options(last=last)):
        assert not (last / "world-1").exists()
    (tmp_path / "mine" / "world-1").mkdir(parents=True)
    with pytest.raises(OSError, match="no demo has made"), demo.place(options(last=tmp_path / "mine")):
        pass
    assert (tmp_path / "mine" / "world-1").exists()
    with demo.place(options(last=tmp_path / "mine", keep=True)) as chosen:
        assert chosen == (None, True)
