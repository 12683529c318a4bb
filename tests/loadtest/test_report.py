"""Reports say what was judged and measured, and what broke it."""

from typing import Any

import pytest

from loadtest import demo, report
from loadtest.histogram import Histogram
from loadtest.ledger import HubEvent, Ledger, ProcessorEvent
from loadtest.screen import Lines, screen


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
    "counts": {"sent": 12, "submitted": 7, "reversed": 2, "faults": 0},
    "outstanding": 1,
    "submitted_codes": {"0000": 6, "9911": 1},
    "recent": {"decided": {"count": 1, "p50_ms": 2.0, "p99_ms": 1503.25}},
}


def test_a_row_tells_answers_from_stand_in_and_refusals() -> None:
    """By the action codes that the hub heard; a gateway that is away has no backlog to show."""
    assert [text for _, text in demo.row(3.2, HUB, None).cells()] == [
        "3", "12", "5", "3", "1", "2", "1", "7", "6", "away", "2.0", "1,503.2", "0",
    ]  # fmt: skip


def test_without_a_terminal_there_are_lines_at_events_and_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """A log of a demo in CI stays readable."""
    with screen(plain=False) as shown:
        assert isinstance(shown, Lines)
        for second in range(12):
            shown.row(demo.row(second, HUB, 4))
        shown.event("something happens")
        shown.row(demo.row(12, HUB, 4))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "seconds 0", "seconds 5", "seconds 10", "--- something happens", "seconds 12",
    ]  # fmt: skip
