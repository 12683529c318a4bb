"""A 9824, read: each field of each function, and the table of meanings with its mistakes."""

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.wire import meanings
from gateway.wire.message import Usm
from gateway.wire.usm import FUNCTIONS, InstitutionStatus, NewsEvent, event_of, sent_at
from tests.fakes.news import MEANINGS, WALL_NS, usm

BUILT_IN = (Path(__file__).parents[2] / "gateway" / "wire" / "usm.toml").read_text(encoding="utf-8")
FULL: dict[str, Any] = {
    "settlement_date": "20251123", "settlement_cycle": "003", "service_status": "01", "credit_items": "00000007",
    "response_time": "00012000", "suspension": "01", "suspension_previous": "00", "priority_groups": "03",
    "sitl_status": "00", "sitl_new": "0000000000000011", "sitl_previous": "0000000000000012",
    "stl_new": "0000000000000013", "stl_previous": "0000000000000014", "settlement_process": "001",
    "institution": "INST", "institution_name": "A BANK", "cap": "0000000000000015", "cap_previous": "0000000000000016",
    "cap_status": "01", "settlement_management": "MANAGE", "settlement_risk": "RISK", "information": "TEXT",
    "return_code": "00000001", "returned_fpid": "FPID",
}  # fmt: skip
"""Every field that says something, in one message: each function takes its own."""

SAID: dict[str, dict[str, object]] = {
    "971": {"state": "suspended"},
    "972": {"state": "suspended", "before": "available", "groups": ("1", "2")},
    "973": {"state": "reached", "amount": 15, "amount_before": 16},
    "974": {"state": "reached", "amount": 15, "amount_before": 16},
    "975": {"state": "in-force", "amount": 11, "amount_before": 12},
    "976": {"amount": 13, "amount_before": 14},
    "977": {"state": "reached", "amount": 15, "amount_before": 16},
    "978": {"state": "reached", "amount": 15, "amount_before": 16},
    "979": {"state": "delayed", "settlement_date": "20251123", "settlement_cycle": "003", "management": "MANAGE",
            "risk": "RISK"},
    "980": {"return_code": "00000001", "returned_fpid": "FPID"},
    "981": {"response_time": "00012000", "items": "00000007"},
    "999": {},
}  # fmt: skip


@pytest.mark.parametrize("function", SAID)
def test_what_each_function_says(function: str) -> None:
    """Its own fields, in the words of the table, and nothing of the others'."""
    event = event_of(usm(function, **FULL), MEANINGS, WALL_NS)
    common = {"function": function, "institution": "INST", "name": "A BANK", "information": "TEXT"}
    fields = msgspec.structs.asdict(event)
    stamp, content = fields.pop("stamp"), fields.pop("content")
    assert {name: value for name, value in fields.items() if value not in ("", None, ())} == {
        **common,
        **SAID[function],
    }
    assert stamp[:20] == "20251122205501000001"
    assert len(stamp) == 36
    assert len(content) == 8
    assert sent_at(event) == "2025-11-22T20:55:01"


def test_every_function_has_words() -> None:
    """Of its own."""
    kinds = [kind for kind, _ in FUNCTIONS.values()]
    assert len(kinds) == len({kind.what for kind in kinds}) == 11
    assert all(issubclass(kind, NewsEvent) and kind.__doc__ for kind in kinds)


@pytest.mark.parametrize(
    ("function", "field", "number"),
    [
        ("971", "service_status", "DE40"), ("972", "suspension", "DE67"), ("972", "suspension_previous", "DE68"),
        ("972", "priority_groups", "DE69"), ("973", "cap_status", "DE107"), ("974", "cap_status", "DE107"),
        ("975", "sitl_status", "DE85"), ("977", "cap_status", "DE107"), ("978", "cap_status", "DE107"),
        ("979", "settlement_process", "DE91"),
    ],
)  # fmt: skip
def test_each_unknown_value_is_named(function: str, field: str, number: str) -> None:
    """The field, never the value; and it says nothing."""
    given: dict[str, Any] = {field: "777" if field == "settlement_process" else "77"}
    event = event_of(usm(function, **given), MEANINGS, WALL_NS)
    assert event.unknown == (number,)
    assert event.state == ""


@pytest.mark.parametrize("table", ["service_status", "suspension", "priority_groups", "cap_status", "sitl_status",
                                   "settlement_process"])  # fmt: skip
def test_every_value_of_the_table(table: str) -> None:
    """Each is understood in the functions that carry it."""
    functions = {"service_status": "971", "suspension": "972", "priority_groups": "972", "cap_status": "974",
                 "sitl_status": "975", "settlement_process": "979"}  # fmt: skip
    for value, meaning in getattr(MEANINGS, table).items():
        given: dict[str, Any] = {table: value}
        event = event_of(usm(functions[table], **given), MEANINGS, WALL_NS)
        assert event.unknown == ()
        said = event.groups if isinstance(event, InstitutionStatus) and table == "priority_groups" else event.state
        assert said == meaning


def test_the_same_news_has_the_same_content() -> None:
    """But for DE11 and the MAC; another second, another value, another function is other news."""
    one = event_of(usm("971", service_status="01"), MEANINGS, WALL_NS)
    assert event_of(usm("971", number=2, service_status="01"), MEANINGS, WALL_NS + 10**9).content == one.content
    for other in (
        usm("971", "1122205502", service_status="01"), usm("971", service_status="00"), usm("972", service_status="01"),
    ):  # fmt: skip
        assert event_of(other, MEANINGS, WALL_NS).content != one.content


def test_an_event_shows_nothing() -> None:
    """Its repr is its type and function."""
    event = event_of(usm("978", **FULL), MEANINGS, WALL_NS)
    assert repr(event) == "<CapChange 978>"


# --- the table of meanings


def test_the_built_in_table_is_said_to_be_a_guess() -> None:
    """And is read once."""
    assert "guess" in BUILT_IN
    assert meanings.built_in() is meanings.built_in()
    assert meanings.built_in() == MEANINGS


def test_a_banks_own_table(tmp_path: Path) -> None:
    """Other values with other meanings: a changed file, not changed code."""
    own = tmp_path / "own.toml"
    own.write_text(BUILT_IN.replace('"00" = "available"\n"01" = "suspended"', '"07" = "suspended"'), encoding="utf-8")
    table = meanings.load(own)
    assert event_of(usm("971", service_status="07"), table, WALL_NS).state == "suspended"
    assert event_of(usm("971", service_status="01"), table, WALL_NS).unknown == ("DE40",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"01" = "suspended"', '"01" = "gone"', "service_status"),
        ('"01" = "suspended"', '"1" = "suspended"', "service_status"),
        ("[cap_status]", "[cap]", "cap"),
        ('"02" = ["2"]', '"02" = ["9"]', "priority_groups.02: there is no group 9"),
        ("unit_pence = 1", "unit_pence = 0", "unit_pence"),
        ("[limits]", "[limits", "not TOML"),
        ("[limits]", "[limits]\nx = " + "[" * 3000, "not TOML: it nests too deeply"),
    ],
)
def test_mistakes_in_a_table(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Each is said with its place."""
    path = tmp_path / "own.toml"
    path.write_text(BUILT_IN.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        meanings.load(path)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    """As a mistake of the configuration."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        meanings.load(tmp_path / "none.toml")


def test_a_fault_is_no_event() -> None:
    """A message with a fault can still be read without an error: nobody acts on it."""
    assert event_of(Usm(mti="9824"), MEANINGS, WALL_NS).stamp.startswith("20251122205501000000")


@pytest.mark.parametrize(
    "time",
    [
        "0931256199",
        "0230120000",
        "0000000000",
        "1301000000",
        "1122240000",
        "1122236000",
        "1122235960",
        "112 120000",
        "11",
    ],
)
def test_news_of_a_moment_that_cannot_be_was_sent_when_it_came(time: str) -> None:
    """The time that is told is a moment, and so is the stamp that orders the news."""
    event = event_of(Usm(mti="9824", function_code="971", transmission_time=time), MEANINGS, WALL_NS)
    assert sent_at(event) == "2025-11-22T20:55:01"


@given(time=st.text("0123456789 ", max_size=10), day=st.text("0123456789", max_size=8))
def test_what_is_told_is_always_a_moment(time: str, day: str) -> None:
    event = event_of(Usm(mti="9824", transmission_time=time, date_sent=day), MEANINGS, WALL_NS)
    assert datetime.fromisoformat(sent_at(event)).isoformat() == sent_at(event)
